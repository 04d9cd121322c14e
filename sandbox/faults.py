"""What goes wrong on purpose: rules for sends (drawn here, enacted by `sends`) and for webhooks (enacted by `outbox`).

Draws are seeded by the rule, the recipient and how often the rule has met that recipient, so that the order in which
concurrent requests come in does not change who is hit.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from typing import Literal

import msgspec

Kind = Literal[
    "timeout_after_accept",  # accepted, then never answered
    "reset_before",  # connection reset, nothing accepted
    "reset_after",  # accepted, then connection reset
    "5xx",  # no body, nothing accepted
    "5xx_after_accept",  # accepted, then a 5xx without a body
    "html",  # a proxy's HTML page, nothing accepted
    "html_after_accept",
    "nonsense",  # 200 and JSON that is no answer of Meta's, nothing accepted
    "nonsense_after_accept",
    "cut_after_accept",  # 200 and half of the answer
    "drip_after_accept",  # accepted, then the answer byte by byte, over `ms`
    "error",  # Meta's body with `code`, nothing accepted
    "delay",  # `ms` before it is looked at
    "storm_130429",  # the same as error 130429
]
AFTER_ACCEPT = frozenset(
    {
        "timeout_after_accept",
        "reset_after",
        "5xx_after_accept",
        "html_after_accept",
        "nonsense_after_accept",
        "cut_after_accept",
        "drip_after_accept",
    }
)


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One rule. Without `probability`, `next` and `seconds` it hits every send (to `to`) until it is deleted."""

    kind: Kind
    probability: float | None = None  # 0..1
    next: int | None = None  # only the next N sends
    seconds: float | None = None  # only for so long, in real time, from the moment it was set
    to: str | None = None  # only this recipient
    code: int = 131000  # of kind error
    ms: float = 0.0  # of kinds delay and drip; of timeout_after_accept: hang up after so long (default one minute)
    status: int = 503  # HTTP status of 5xx and html

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not between 0 and 1")


class WebhookFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What goes wrong between the sandbox and the callback."""

    duplicates: float = 0.0  # share of updates posted twice
    shuffle: bool = False  # waiting updates leave in any order
    delay_ms: float = 0.0  # each webhook is late by 0..delay_ms
    drop: float = 0.0  # share of updates that never come
    early: float = 0.0  # share of sends whose first statuses are delivered before their own answer
    hold: bool = False  # nothing is posted until this is off again


class Faults:
    """The rules in force; the first that hits wins."""

    def __init__(self, rules: tuple[Fault, ...], seed: int) -> None:
        self._seed = seed
        self._rules: list[tuple[int, Fault, float]] = []
        self._left: dict[int, int] = {}
        self._met: dict[int, Counter[str]] = {}
        self.hits: Counter[str] = Counter()
        self._ids = 0
        self.add(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, rules: tuple[Fault, ...] | list[Fault]) -> None:
        for rule in rules:
            self._rules.append((self._ids, rule, time.monotonic()))
            self._met[self._ids] = Counter()
            if rule.next is not None:
                self._left[self._ids] = rule.next
            self._ids += 1

    def clear(self) -> None:
        self._rules.clear()
        self._left.clear()
        self._met.clear()

    def rules(self) -> list[Fault]:
        return [rule for _, rule, _ in self._rules]

    def pick(self, to: str) -> Fault | None:
        """The fault of one send, or None; counts it."""
        for number, rule, since in self._rules:
            if rule.to is not None and rule.to != to:
                continue
            if rule.seconds is not None and time.monotonic() - since > rule.seconds:
                continue
            if self._left.get(number, 1) <= 0:
                continue
            if rule.probability is not None:
                met = self._met[number]
                met[to] += 1
                if draw(self._seed, "fault", number, to, met[to]) >= rule.probability:
                    continue
            if number in self._left:
                self._left[number] -= 1
            self.hits[rule.kind] += 1
            return rule
        return None


def draw(*key: object) -> float:
    """A number in [0, 1) that depends on nothing but its key."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
