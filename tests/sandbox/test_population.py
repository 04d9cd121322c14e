"""How people behave: the same for the same seed, and in the shares that the mix asks for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Config
from sandbox.population import PERFECT, Delay, Mix, mix_from, plan
from sandbox.testing import running

BUTTONS = [(1, "Oui"), (2, "Non")]
phones = st.integers(0, 99_999_999).map(lambda number: f"+336{number:08d}")


def many(mix: Mix, *, seed: int = 1, marketing: bool = True) -> list[list[str]]:
    plans = (
        plan(seed, mix, f"+336{n:08d}", "offer", 1, marketing=marketing, quick_replies=BUTTONS) for n in range(4000)
    )
    return [[deed.do for deed in deeds] for deeds in plans]


@given(st.integers(0, 9), phones, st.integers(1, 5), st.booleans())
def test_the_same_seed_sees_the_same_person(seed: int, phone: str, nth: int, marketing: bool) -> None:
    first = plan(seed, Mix(), phone, "offer", nth, marketing=marketing, quick_replies=BUTTONS)
    assert first == plan(seed, Mix(), phone, "offer", nth, marketing=marketing, quick_replies=BUTTONS)
    assert [deed.after for deed in first] == sorted(deed.after for deed in first)
    names = [deed.do for deed in first]
    assert names == ["failed"] or names[0] == "sent"
    assert set(names[-1:]) <= {"sent", "delivered", "read", "failed"} or "read" in names


def test_another_seed_message_or_copy_sees_other_behaviour() -> None:
    def outcomes(seed: int, what: str, nth: int) -> list[list[int]]:
        return [[deed.after for deed in plan(seed, Mix(), f"+336{n:08d}", what, nth)] for n in range(50)]

    assert outcomes(1, "a", 1) == outcomes(1, "a", 1)
    assert len({str(outcomes(*key)) for key in [(1, "a", 1), (2, "a", 1), (1, "b", 1), (1, "a", 2)]}) == 4


def test_the_mix_is_met() -> None:
    mix = Mix(failed={131026: 0.1, 131049: 0.1}, delivered=0.8, read=0.5, read_only=0, button=0.5, text=0.2, stop=0.1)
    plans = many(mix)
    counts = Counter(name for names in plans for name in names)
    assert counts["failed"] == pytest.approx(4000 * 0.19, rel=0.12)  # two independent draws of 10 %
    assert counts["delivered"] == pytest.approx(counts["sent"] * 0.8, rel=0.05)
    assert counts["read"] == pytest.approx(counts["delivered"] * 0.5, rel=0.08)
    assert counts["button"] == pytest.approx(counts["read"] * 0.5, rel=0.12)
    assert counts["reply"] == pytest.approx(counts["read"] * 0.2, rel=0.2)
    assert counts["stop"] == pytest.approx(counts["read"] * 0.1, rel=0.3)


def test_buttons_are_weighed_and_only_tapped_where_there_are_some() -> None:
    mix = mix_from({"button": 1, "text": 0, "stop": 0, "preference": 0, "reaction": 0, "buttons": {"Non": 0}}, PERFECT)
    assert [deed.text for deed in plan(1, mix, "+33612345678", "offer", 1, quick_replies=BUTTONS)][-1] == "Oui"
    assert [deed.do for deed in plan(1, mix, "+33612345678", "offer", 1)] == ["sent", "delivered", "read"]


def test_who_is_not_on_whatsapp_is_never_reached() -> None:
    mix = Mix(failed={131026: 0.5})
    for number in range(200):
        phone = f"+336{number:08d}"
        assert len({plan(1, mix, phone, what, 1)[0].do for what in ("a", "b", "c")}) == 1


def test_marketing_caps_spare_other_messages() -> None:
    mix = Mix(failed={131049: 0.5, 131050: 0.5})
    assert all(names[0] == "sent" for names in many(mix, marketing=False))
    assert any(names == ["failed"] for names in many(mix))


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_delays_stay_in_their_bounds(chance: float, pick: float) -> None:
    delay = Delay(at_once=0.2, median=600, spread=2, longest=86400)
    assert delay.of(chance, pick) == 0 if chance < 0.2 else 1 <= delay.of(chance, pick) <= 86400


@pytest.mark.parametrize(
    "wrong", [{"read": 2}, {"failed": {"131026": -1}}, {"button": 0.9, "text": 0.9}, {"reed": 1}, "sleepy"]
)
def test_a_mix_that_makes_no_sense_is_refused(wrong: dict[str, object] | str) -> None:
    with pytest.raises(ValueError):
        mix_from(wrong)


def test_two_sandboxes_with_one_seed_tell_one_story_whatever_the_order() -> None:
    people = [f"+336{number:08d}" for number in range(60)]

    def story(order: list[str], seed: int) -> dict[str, list[tuple[str, str]]]:
        told: dict[str, list[tuple[str, str]]] = {}
        with running(Config(now="2026-12-01T10:00:00Z", seed=seed, rate=0)) as box:
            body = box.body("appointment_reminder", "")
            for phone in order:
                assert box.post({**body, "to": phone}).status_code == 200
            box.turn(by="30d")
            for row in box.statuses():
                told.setdefault(row["to"], []).append((row["status"], row["at"]))
            for hook in box.webhooks():
                for change in hook["body"]["entry"][0]["changes"]:
                    for one in change["value"].get("messages", []):
                        told["+" + one["from"]].append((str(one.get("button") or one.get("text")), one["timestamp"]))
        return told

    first = story(people, 7)
    assert first == story(people[::-1], 7)
    assert first != story(people, 8)
    assert {"delivered", "read"} <= {name for rows in first.values() for name, _ in rows}
