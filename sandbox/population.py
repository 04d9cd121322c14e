"""How people behave: who gets the message, reads it, answers, asks to stop, and when. Pure and seeded.

What a person does with a message depends on nothing but (seed, phone, what was sent, how many-th time): two runs that
send the same things see the same people, in whatever order the sends arrive. What a person *is* (not on WhatsApp,
marketing stopped) depends on (seed, phone) alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

Doing = Literal[
    "sent", "delivered", "read", "failed", "reply", "button", "stop", "reaction", "image", "preference_stop",
    "preference_resume",
]  # fmt: skip
PERSONAL = (131026, 131050)  # codes that belong to the person, not to one message
MARKETING_ONLY = (130472, 131049, 131050)


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whole seconds: `at_once` of the people take none, the others a log-normal time around `median`."""

    at_once: float = 0.0
    median: float = 60.0
    spread: float = 1.0  # standard deviation of the logarithm: 1 means that two thirds lie within a factor of 2.7
    longest: float = 30 * 86400.0

    def of(self, chance: float, pick: float) -> int:
        if chance < self.at_once or self.median <= 0:
            return 0
        return round(min(self.longest, max(1.0, self.median * math.exp(self.spread * _normal(pick)))))


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Shares of 0..1. `delivered` is of those not failed; `read` of those delivered; answers are of those who read."""

    failed: dict[int, float] = msgspec.field(default_factory=lambda: {131026: 0.015, 131049: 0.01, 131050: 0.005})
    delivered: float = 0.97
    read: float = 0.72
    read_only: float = 0.02  # of readers: no delivered comes, read implies it
    button: float = 0.28  # taps a quick reply, where the template has some
    buttons: dict[str, float] = {}  # weight of a label; a label that is not named weighs 1
    text: float = 0.05  # writes something
    texts: tuple[str, ...] = ("Bonjour, quels sont vos horaires ?", "Merci !", "C’est encore disponible ?", "👍", "Ok")
    stop: float = 0.01  # writes one of the stop words
    stop_words: tuple[str, ...] = ("STOP", "Stop", "stop.", "ARRÊT", "unsubscribe")
    preference: float = 0.004  # stops marketing in WhatsApp's own settings (marketing templates only)
    reaction: float = 0.03
    emoji: tuple[str, ...] = ("👍", "❤️", "🙏")
    sent_after: Delay = Delay(at_once=1.0)
    delivered_after: Delay = Delay(at_once=0.7, median=120, spread=2.0, longest=3 * 86400)
    read_after: Delay = Delay(at_once=0.02, median=2400, spread=1.9, longest=10 * 86400)
    answer_after: Delay = Delay(at_once=0.0, median=90, spread=1.6, longest=2 * 86400)
    failed_after: Delay = Delay(at_once=0.8, median=3, spread=1.0, longest=60)

    def __post_init__(self) -> None:
        answers = [self.button, self.text, self.stop, self.preference, self.reaction]
        shares = [self.delivered, self.read, self.read_only, *answers, *self.failed.values()]
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError("a share of the mix is not between 0 and 1")
        if sum(self.failed.values()) > 1 or sum(answers) > 1:
            raise ValueError("the failures, or the answers, of the mix add up to more than 1")


# Everyone gets and reads at once and nobody answers: for tests and benchmarks that only count.
PERFECT = Mix(
    failed={}, delivered=1, read=1, read_only=0, button=0, text=0, stop=0, preference=0, reaction=0,
    sent_after=Delay(at_once=1), delivered_after=Delay(at_once=1), read_after=Delay(at_once=1),
)  # fmt: skip
MIXES = {"lively": Mix(), "perfect": PERFECT}


class Deed(NamedTuple):
    """One thing that happens to a message, `after` seconds from when it was accepted."""

    after: int
    do: Doing
    text: str = ""  # of a reply, a stop, a reaction; the label of a button
    position: int = 0  # of a button
    code: int = 0  # of a failure


def plan(
    seed: int,
    mix: Mix,
    phone: str,
    what: str,
    nth: int,
    *,
    marketing: bool = False,
    quick_replies: Sequence[tuple[int, str]] = (),
) -> list[Deed]:
    """What happens to the `nth` message `what` (a template's name, or "text") to `phone`, in order of time."""
    draws = _draws(f"{seed}\x1f{phone}\x1f{what}\x1f{nth}")
    code = _failure(seed, mix, phone, marketing, next(draws))
    if code:
        return [Deed(mix.failed_after.of(next(draws), next(draws)), "failed", code=code)]
    at = mix.sent_after.of(next(draws), next(draws))
    deeds = [Deed(at, "sent")]
    if next(draws) >= mix.delivered:
        return deeds
    at += mix.delivered_after.of(next(draws), next(draws))
    delivered = Deed(at, "delivered")
    reads = next(draws) < mix.read
    if not reads or next(draws) >= mix.read_only:
        deeds.append(delivered)
    if not reads:
        return deeds
    at += mix.read_after.of(next(draws), next(draws))
    deeds.append(Deed(at, "read"))
    at += mix.answer_after.of(next(draws), next(draws))
    answer = _answer(mix, marketing, quick_replies, next(draws), next(draws), at)
    return [*deeds, answer] if answer else deeds


def _failure(seed: int, mix: Mix, phone: str, marketing: bool, chance: float) -> int:
    """The code with which this message fails, 0 when it doesn't."""
    personal = next(_draws(f"{seed}\x1f{phone}"))
    reached = {True: 0.0, False: 0.0}
    for code, share in mix.failed.items():
        own = code in PERSONAL
        reached[own] += share
        if code in MARKETING_ONLY and not marketing:
            continue
        if (personal if own else chance) < reached[own]:
            return code
    return 0


def _answer(
    mix: Mix, marketing: bool, quick_replies: Sequence[tuple[int, str]], chance: float, pick: float, at: int
) -> Deed | None:
    if chance < mix.button:
        if not quick_replies:
            return None
        weights = [mix.buttons.get(label, 1.0) for _, label in quick_replies]
        reached = pick * sum(weights)
        for (index, label), weight in zip(quick_replies, weights, strict=True):
            reached -= weight
            if reached < 0:
                return Deed(at, "button", label, index)
        return None
    chance -= mix.button
    choices: list[tuple[float, Doing, tuple[str, ...]]] = [
        (mix.text, "reply", mix.texts),
        (mix.stop, "stop", mix.stop_words),
        (mix.reaction, "reaction", mix.emoji),
    ]
    for share, do, texts in choices:
        if chance < share:
            return Deed(at, do, texts[int(pick * len(texts))]) if texts else None
        chance -= share
    return Deed(at, "preference_stop") if marketing and chance < mix.preference else None


def _draws(key: str) -> Iterator[float]:
    """Endless numbers in [0, 1) that depend on the key alone."""
    block = 0
    while True:
        digest = hashlib.blake2b(f"{key}\x1f{block}".encode()).digest()
        for start in range(0, 64, 8):
            yield (int.from_bytes(digest[start : start + 8], "big") >> 11) / (1 << 53)
        block += 1


def _normal(pick: float) -> float:
    """The standard normal value below which a share of `pick` lies (logistic approximation, good to 2 %)."""
    pick = min(max(pick, 1e-9), 1 - 1e-9)
    return math.log(pick / (1 - pick)) / 1.702


def mix_from(value: Mapping[str, object] | str | None, base: Mix | None = None) -> Mix:
    """A mix by its name ("lively", "perfect"), or from the shares that differ from `base`. ValueError."""
    base = base or Mix()
    if value is None:
        return base
    if isinstance(value, str):
        if value not in MIXES:
            raise ValueError(f"{value!r} is no mix: {', '.join(MIXES)}, or a JSON object")
        return MIXES[value]
    return msgspec.convert({**msgspec.to_builtins(base, str_keys=True), **value}, Mix, strict=False)
