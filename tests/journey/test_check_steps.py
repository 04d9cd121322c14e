"""Holes in what steps wait for, ask and write, and in who comes in."""

from datetime import UTC, datetime
from typing import Any

import pytest

from journey.check import CheckContext
from journey.pricing import RateCard
from journey.problems import Problem
from tests.journey import checking
from tests.journey.checking import found_holes, one, template
from tests.journey.test_pricing import rate

QUICK = [
    {"type": "QUICK_REPLY", "text": "Oui, ça m’intéresse"},
    {"type": "QUICK_REPLY", "text": "Non, merci"},
    {"type": "URL", "text": "Acheter", "url": "https://go.example.com/r/{{1}}"},
    {"type": "URL", "text": "Aide", "url": "https://shop.example.com/p/{{1}}"},
]
TEMPLATES = [template("offer", "fr", "Bonjour !", buttons=QUICK), template("hello", "fr", "Bonjour !")]

#: Good as it stands; each test spoils one thing.
TEXT = """\
name: autumn
sender: main
entries:
  - trigger:
      event: visit
      key: visit_id
      active: {from: 2026-11-01, to: 2026-12-31}
  - api: {attributes: [amount, day]}
settings:
  goals: [{event: purchase}]
  exit_on: [{event: cancelled}]
  control_group: 5%
  stop_if: {failures_above: 5%, cost_above: 200 EUR}
steps:
  offer:
    message:
      template: offer
      language: fr
      buttons: {Acheter: {link: "https://shop.example.com/{first_name}"}, Aide: {user: zip}}
    on_reply:
      within: 24h
      answers: {"Oui, ça m’intéresse": bought, "Non, merci": end}
      silence: pause
  pause:
    delay: {until: {event: day}, shift: -24h}
    next: bought
  bought:
    wait_for:
      within: 14d
      branches:
        - {event: purchase, next: mark}
        - {reply_to: offer, is: ["Non, merci"], next: mark}
        - {read: offer, next: by_value}
        - {click: offer, button: Acheter, next: by_value}
      else: by_value
  by_value:
    split:
      branches:
        - {segment: loyal, next: test}
        - {user: {zip: "75011"}, next: test}
        - {event: {amount: {at_least: 50}}, next: mark}
  test: {experiment: {a: {weight: 50, next: last}, b: {weight: 50, next: mark}}}
  last: {message: {template: hello, language: fr}}
  mark: {update: {set: {points: 3, warm: yes, since: 2026-01-01, note: x, first_name: null}, add_tags: [autumn]}}
variables:
  first_name: {user: first_name, fallback: vous}
"""


def context(**other: Any) -> CheckContext:
    given: dict[str, Any] = {
        "base_url": "https://go.example.com",
        "types": {"points": "bigint", "warm": "boolean", "since": "date", "ratio": "double", "seen": "timestamptz"},
        "stop_words": ["STOP"],
        "rates": RateCard([rate("France", "MARKETING"), rate("*", "UTILITY")]),
        "region": "FR",
        "now": datetime(2026, 10, 1, tzinfo=UTC),
    }
    return checking.context(TEMPLATES, **{**given, **other})


def found(text: str, given: CheckContext | None = None) -> list[Problem]:
    return checking.found(text, given or context())


def spoil(old: str, new: str, text: str = TEXT) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_a_good_campaign_has_no_findings() -> None:
    assert found(TEXT) == []


BRANCHES = "steps.bought.wait_for.branches"
ON_REPLY = "steps.offer.on_reply"

SPOILED = [
    # triggers
    ("to: 2026-12-31", "to: soon", "entries[0].trigger.active.to", "“soon” is no date", "2026-11-01"),
    ("from: 2026-11-01", "from: 30d ago", "entries[0].trigger.active.from", "is no date", "2026-11-01"),
    ("from: 2026-11-01", "from: 0001-01-05", "entries[0].trigger.active.from", "the year 1 is", ""),
    ("from: 2026-11-01", "from: 2027-01-01", "entries[0].trigger.active.to", "`to` is before `from`", "later"),
    # targets
    ("silence: pause", "silence: paus", f"{ON_REPLY}.silence", "no step `paus`", "`pause`?"),
    ('merci": end', 'merci": ende', f"{ON_REPLY}.answers.Non, merci", "no step `ende`", "`end`?"),
    ("next: bought", "next: bougt", "steps.pause.next", "no step `bougt`", "`bought`?"),
    ("{event: purchase, next: mark}", "{event: purchase, next: marc}", f"{BRANCHES}[0].next", "`marc`", "`mark`?"),
    ("else: by_value", "else: value", "steps.bought.wait_for.else", "no step `value`", "`by_value`?"),
    ("loyal, next: test", "loyal, next: tst", "steps.by_value.split.branches[0].next", "no step `tst`", "`test`?"),
    ("50, next: last", "50, next: lst", "steps.test.experiment.a.next", "no step `lst`", "`last`?"),
    # bounds
    ("within: 24h", "within: 91d", f"{ON_REPLY}.within", "91d is too long to wait for an answer", "at most 90d"),
    ("within: 14d", "within: 91d", "steps.bought.wait_for.within", "91d is too long", "at most 90d"),
    # answers
    ('"Non, merci": end', '"oui, ça m\'intéresse !": end', f"{ON_REPLY}.answers.oui, ça m'intéresse !", "same", "Keep"),
    ('"Non, merci": end', '"\u200b": end', f"{ON_REPLY}.answers.\u200b", "no answer that anyone could give", ""),
    # moments
    ("{event: day}", "{event: days}", "steps.pause.delay.until.event", "no attribute `days`", "`day`?"),
    ("{event: day}", "{user: day}", "steps.pause.delay.until.user", "no known contact", "Known:"),
    ("{event: day}", "0001-01-05 10:00", "steps.pause.delay.until", "the year 1 is", ""),
    # news of messages
    ("reply_to: offer", "reply_to: ofer", f"{BRANCHES}[1].reply_to", "no step `ofer`", "`offer`?"),
    ("{read: offer", "{read: pause", f"{BRANCHES}[2].read", "the step `pause` sends no message", "Known:"),
    ("{read: offer", "{read: last", f"{BRANCHES}[2].read", "no way leads from `last` to this step", "comes before"),
    ("click: offer, button: Acheter", "click: last", f"{BRANCHES}[3].click", "no way leads", ""),
    ("button: Acheter", "button: Aide", f"{BRANCHES}[3].button", "“Aide” of `offer` is no counted link", "“Acheter”"),
    ("button: Acheter", "button: Achat", f"{BRANCHES}[3].button", "has no button “Achat”", "“Acheter”"),
    ("button: Acheter", "button: 3", f"{BRANCHES}[3].button", "“Aide” of `offer` is no counted link", "“Acheter”"),
    ("button: Acheter", "button: 7", f"{BRANCHES}[3].button", "no button at position 7", "“Acheter”"),
    (
        '{link: "https://shop.example.com/{first_name}"}',
        "{user: first_name}",
        f"{BRANCHES}[3].click",
        "no counted link",
        "{link: https://…}",
    ),
    # splits
    ("segment: loyal", "segment: loyel", "steps.by_value.split.branches[0].segment", "no segment `loyel`", "`loyal`?"),
    ("user: {zip:", "user: {zap:", "steps.by_value.split.branches[1].user.zap", "no known contact", "`zip`?"),
    # updates
    ("note: x", "contact_id: x", "steps.mark.update.set.contact_id", "kept by Estafette", "another name"),
    ("note: x", "Phone Number: x", "steps.mark.update.set.Phone Number", "kept by Estafette", ""),
    ("note: x", "tags: x", "steps.mark.update.set.tags", "kept by Estafette", "`add_tags`"),
    ("note: x", "opted_out_at: x", "steps.mark.update.set.opted_out_at", "kept by Estafette", ""),
    ("note: x", "order.total: 3", "steps.mark.update.set.order.total", "nested", "order_total"),
    ("points: 3", "points: many", "steps.mark.update.set.points", "is a whole number, and “many” is none", ""),
    ("points: 3", "timezone: Paris", "steps.mark.update.set.timezone", "no known time zone", "Europe/Paris"),
    ("points: 3", "points: true", "steps.mark.update.set.points", "is a whole number", ""),
    ("warm: yes", "warm: perhaps", "steps.mark.update.set.warm", "is a boolean (true or false)", ""),
    ("since: 2026-01-01", "since: 30d ago", "steps.mark.update.set.since", "is a date, and", ""),
    ("points: 3", "Points: x", "steps.mark.update.set.Points", "the property `points`", ""),
    ("points: 3", "seen: yesterday", "steps.mark.update.set.seen", "date with a time", ""),
    ("points: 3", "ratio: x", "steps.mark.update.set.ratio", "is a number", ""),
]


@pytest.mark.parametrize(("old", "new", "field", "what", "mend"), SPOILED)
def test_a_hole_is_found_with_its_field_and_what_to_do(old: str, new: str, field: str, what: str, mend: str) -> None:
    text = spoil(old, new)
    problem = one([problem for problem in found(text) if problem.field == field and problem.level == "error"])
    assert what in problem.message
    assert mend in problem.mend
    assert problem in found_holes(text, context())


WARNED = [
    ("key: visit_id", "key: contact_id", "entries[0].trigger.key", "tells no passages apart"),
    ("  - api: {attributes: [amount, day]}\n", "  - api: {attributes: [amount, day]}\n" * 2, "entries[2]", "twice"),
    ("  goals: [{event: purchase}]\n", "", "settings.control_group", "no goal"),
    ("[{event: purchase}]", "[{event: purchase}, {event: purchase}]", "settings.goals[1]", "is there twice"),
    ("[{event: cancelled}]", "[{event: cancelled}, {event: cancelled}]", "settings.exit_on[1]", "is there twice"),
    ("200 EUR", "200 USD", "settings.stop_if.cost_above", "no rates in USD"),
    ("failures_above: 5%", "audience_above: 5", "settings.stop_if.audience_above", "without an audience"),
    ('"Non, merci": end', '"Peut-être": end', f"{ON_REPLY}.answers.Peut-être", "no quick-reply button"),
    ('"Non, merci": end', '"Stop": end', f"{ON_REPLY}.answers.Stop", "is a stop word"),
    ('is: ["Non, merci"]', "is: [Non, Oui]", f"{BRANCHES}[1].is[1]", "no quick-reply button"),
    ('is: ["Non, merci"]', "is: Oui", f"{BRANCHES}[1].is", "no quick-reply button"),
    ("{read: offer, next: by_value}", "{event: purchase, next: by_value}", f"{BRANCHES}[2]", "waits for the same"),
    ("{until: {event: day}, shift: -24h}", "{until: 18:00, if_past: end}", "steps.pause.delay.if_past", "no effect"),
    ("{until: {event: day}, shift: -24h}", "{for: 1d, if_past: continue}", "steps.pause.delay.if_past", "no effect"),
    ("{until: {event: day}, shift: -24h}", "{until: 2026-09-29T10:00}", "steps.pause.delay.until", "is over"),
    ('{user: {zip: "75011"}, next: test}', "{segment: loyal, next: mark}", "steps.by_value.split.branches[1]", "same"),
    ("b: {weight: 50, next: mark}", "", "steps.test.experiment", "compares nothing"),
]


@pytest.mark.parametrize(("old", "new", "field", "words"), WARNED)
def test_what_is_probably_not_meant_is_a_warning(old: str, new: str, field: str, words: str) -> None:
    problems = [problem for problem in found(spoil(old, new)) if problem.field == field]
    problem = one(problems)
    assert problem.level == "warning"
    assert words in problem.message


@pytest.mark.parametrize(
    ("card", "region", "warned"),
    [
        ([rate("France", "MARKETING")], "FR", False),
        ([rate("*", "MARKETING")], "FR", False),
        ([rate("EXAMPLE", "MARKETING")], "FR", True),
        ([rate("France", "UTILITY")], "FR", True),
        ([rate("France", "MARKETING", since="2027-01-01")], "FR", True),
        ([rate("France", "MARKETING")], "DE", True),
        ([rate("EXAMPLE", "MARKETING")], None, False),  # the settings can't be read, which is said
    ],
)
def test_a_budget_that_no_message_at_home_counts_for_is_a_warning(card: Any, region: str | None, warned: bool) -> None:
    problems = found(TEXT, context(rates=RateCard(card), region=region))
    assert [problem.field for problem in problems] == ["settings.stop_if.cost_above"] * warned
    assert all("MARKETING messages to" in problem.message and problem.level == "warning" for problem in problems)


def test_a_trigger_whose_days_are_over_is_a_warning_from_the_day_after() -> None:
    last = datetime(2026, 12, 31, 22, 30, tzinfo=UTC)  # 23:30 in Paris
    assert found(TEXT, context(now=last)) == []
    problem = one(found(TEXT, context(now=datetime(2026, 12, 31, 23, 30, tzinfo=UTC))))
    assert (problem.level, problem.field) == ("warning", "entries[0].trigger.active.to")


def test_answers_of_free_text_need_no_button() -> None:
    text = "name: autumn\nsender: main\nentries: [{api: {}}]\nsteps:\n  a:\n    message: {text: Bonjour}\n"
    assert found(text + "    on_reply: {within: 1d, answers: {bonjour: end}}\n") == []


def test_a_property_that_nobody_knows_is_only_a_warning_before_contacts_are_loaded() -> None:
    text = spoil("user: {zip:", "user: {zap:")
    assert one(found(text, context(contacts_loaded=False))).level == "warning"
    assert found(text, context(properties=None)) == []


@pytest.mark.parametrize("name", ["timezone", "tags", "opted_in", "locale", "order.number"])
def test_splits_may_ask_for_whatever_segments_may(name: str) -> None:
    assert found(spoil('user: {zip: "75011"}', f"user: {{{name}: x}}")) == []


def test_a_whole_number_widens_for_decimals_unless_the_settings_state_it() -> None:
    text = spoil("points: 3", "points: 3.5")
    assert found(text) == []
    assert "is a whole number" in one(found(text, context(stated={"points": "bigint"}))).message


def test_language_and_time_zone_of_a_contact_may_be_set() -> None:
    assert found(spoil("points: 3", "locale: fr, timezone: Europe/Paris")) == []


# --- what brings the contact in


def entered(entries: str, use: str) -> list[Problem]:
    steps = f"  a: {{delay: {{until: {{event: {use}}}}}, next: b}}\n  b: {{message: {{text: x}}}}\n"
    columns = {"loyal": {"spent"}, "staff": set[str]()}
    return found(f"name: autumn\nsender: main\nentries: {entries}\nsteps:\n{steps}", context(columns=columns))


def test_what_a_delay_waits_for_must_be_brought_by_every_entry() -> None:
    assert entered("[{api: {attributes: [day]}}, {trigger: {event: x}}]", "day") == []
    assert entered("[{api: {attributes: [order]}}]", "order.day") == []
    assert entered("[{audience: {segment: loyal}}]", "spent") == []
    unknown = one(entered("[{api: {attributes: [day]}}, {audience: {segment: loyal}}]", "day"))
    assert (unknown.level, unknown.message) == ("error", "the segment `loyal` brings no `day`")
    assert "{user: …}" in one(entered("[{audience: {segment: staff}}]", "day")).mend
    bare = one(entered("[{api: {}}]", "day"))
    assert bare.message == "requests bring no attribute `day`"
    assert bare.mend == "Add it: api: {attributes: [day]}."


def test_a_split_on_what_no_entry_brings_is_a_warning_and_on_what_one_does_is_none() -> None:
    split = "  s: {split: {branches: [{event: {day: x}, next: b}]}}\n  b: {message: {text: x}}\n"
    head = "name: autumn\nsender: main\nentries: [{api: {attributes: [hour]}}%s]\nsteps:\n"
    problem = one(found(head % "" + split))
    assert (problem.level, problem.field) == ("warning", "steps.s.split.branches[0].event.day")
    assert found(head % ", {api: {attributes: [day]}}" + split) == []


# --- loops


def loop(*lines: str) -> list[Problem]:
    text = "name: autumn\nsender: main\nentries: [{api: {attributes: [day]}}]\nsteps:\n"
    return found(text + "".join(f"  {line}\n" for line in lines))


M = "message: {template: hello, language: fr}"


@pytest.mark.parametrize(
    "wait",
    [
        "delay: {for: 1h}, next: a",
        "delay: {until: 18:00}, next: a",
        "delay: {until: {event: day}}, next: a",
        "delay: {until: {event: day}, shift: 2h}, next: a",
        "delay: {until: {event: day}, shift: -2h, if_past: end}, next: a",
        "wait_for: {within: 1d, branches: [{event: x, next: a}], else: a}",
        "wait_for: {within: 1d, branches: [{read: a, next: a}], else: end}",
        "wait_for: {within: 1d, branches: [{reply_to: a, next: a}], else: end}",
    ],
)
def test_a_loop_with_a_wait_is_no_hole(wait: str) -> None:
    assert loop(f"a: {{{M}, next: b}}", f"b: {{{wait}}}") == []


@pytest.mark.parametrize(
    "restless",
    [
        # in the day between the shifted date and the date itself nobody would wait
        "delay: {until: {event: day}, shift: -24h, if_past: continue}, next: a",
        "split: {branches: [{segment: loyal, next: a}]}",
        "experiment: {x: {weight: 1, next: a}, y: {weight: 1, next: end}}",
        "update: {add_tags: [x]}, next: a",
    ],
)
def test_a_loop_without_a_wait_is_a_hole(restless: str) -> None:
    problem = one([one for one in loop(f"a: {{{M}, next: b}}", f"b: {{{restless}}}") if one.level == "error"])
    assert "a → b → a" in problem.message
    assert "`delay`" in problem.mend


def test_waiting_for_old_news_is_no_wait() -> None:
    """Who has read the first message has read it for good: only a loop that sends it again waits."""
    steps = (
        f"first: {{{M}, next: again}}",
        f"again: {{{M}, next: wait}}",
        "wait: {wait_for: {within: 1d, branches: [{read: first, next: %s}], else: end}}",
    )
    assert loop(*steps[:2], steps[2] % "first") == []
    problem = one(loop(*steps[:2], steps[2] % "again"))
    assert problem.field == "steps.wait.wait_for.branches[0].next"
    assert "again → wait → again" in problem.message


def test_one_loop_may_wait_and_another_through_the_same_steps_may_not() -> None:
    problem = one(
        loop(
            f"first: {{{M}, next: second}}",
            f"second: {{{M}, next: wait}}",
            "wait: {wait_for: {within: 1d, branches: [{read: first, next: split}], else: end}}",
            "split: {split: {branches: [{segment: loyal, next: first}, {segment: staff, next: second}]}}",
        )
    )
    assert "second → wait → split → second" in problem.message


def test_many_waits_for_news_are_checked_in_time() -> None:
    names = [f"m{number}" for number in range(40)]
    lines = [f"{name}: {{{M}, next: {following}}}" for name, following in zip(names, [*names[1:], "w"], strict=True)]
    branches = ", ".join(f"{{read: {name}, next: m0}}" for name in names)
    assert loop(*lines, f"w: {{wait_for: {{within: 1d, branches: [{branches}]}}}}") == []
