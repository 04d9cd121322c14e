"""A campaign file's text → the campaign, or findings with file:line, field, what and mend."""

from datetime import time, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest

from journey.campaign import ApiEntry, AudienceEntry, Campaign, Goal, ReEntry, SilentHours, StopIf, TriggerEntry, When
from journey.campaign_reading import load_campaign
from journey.conditions import Condition, Operator
from journey.steps import (
    Arm,
    Coupons,
    DelayStep,
    EventMatch,
    ExperimentStep,
    FrequencyCap,
    Header,
    LanguageByContact,
    Link,
    Location,
    MessageStep,
    OnRead,
    OnReply,
    SplitBranch,
    SplitStep,
    TemplateMessage,
    TextMessage,
    Until,
    UpdateStep,
    WaitBranch,
    WaitForStep,
)
from journey.variables import Variable
from journey.words import Branch, Case

FILE = "campaigns/autumn.yaml"

FULL = """\
name: autumn
description: Win back people away for 30 days
sender: main
draft: true
entries:
  - audience:
      segment: inactive_30d
      when: {cron: "0 10 * * MON", timezone: contact, fallback: Europe/Paris, if_past: next_day, late: 3h}
  - audience: {segment: loyal, when: {at: 2026-12-01 10:00, not_after: 2026-12-01 18:00}}
  - audience: {segment: staff}
variables:
  first_name: {user: first_name, case: CapitalizeFirst, fallback: cher client}
settings:
  re_entry: {times: 1, per: 30d}
  when_unknown: {after: 10m, then: resend}
steps:
  offer:
    message:
      template: autumn_offer
      language: {user: locale, fallback: fr}
      header: {document: {url: "https://example.com/a.pdf", filename: {user: file}}}
      variables:
        1: {event: order.number}
        discount: {text: "20 %"}
        amount: {user: spent, format: 2}
        day: {user: seen, format: "%d/%m", timezone: Europe/Paris}
      buttons:
        0: {user: product_id}
        "Acheter": {user: product_id, fallback: accueil}
      expires: 12h
    on_read: {within: 2d, read: end, not_read: last, undelivered: last}
    on_skip: {not_opted_in: last}
    on_failure: last
  last:
    message: {template: last_call, language: no, header: {image: https://example.com/a.jpg}}
    on_skip: end
"""

MINIMAL = """\
name: autumn
sender: main
entries: [{audience: {segment: loyal}}]
steps:
  hello: {message: {template: hello, language: fr}}
"""


def load(text: str, file: str = FILE) -> Campaign:
    campaign, problems = load_campaign(text, file)
    assert campaign is not None and not problems, problems
    return campaign


def findings(text: str, file: str = FILE) -> list[tuple[int, str, str]]:
    _, problems = load_campaign(text, file)
    assert all(problem.file == file and problem.line >= 1 and problem.level == "error" for problem in problems)
    assert all(problem.mend and not problem.message.endswith(".") for problem in problems)
    return [(problem.line, problem.field, f"{problem.message}. {problem.mend}") for problem in problems]


def test_a_whole_campaign_is_read_into_its_models() -> None:
    campaign = load(FULL)
    assert (campaign.name, campaign.sender, campaign.draft) == ("autumn", "main", True)
    assert campaign.file == FILE
    assert campaign.version == sha256(FULL.encode()).hexdigest()[:12]
    first, second, third = campaign.entries
    assert isinstance(first, AudienceEntry) and isinstance(second, AudienceEntry)
    assert first.when == When(
        cron="0 10 * * MON",
        timezone="contact",
        fallback="Europe/Paris",
        if_past="next_day",
        late=timedelta(hours=3),
    )
    assert second.when == When(at="2026-12-01 10:00", not_after="2026-12-01 18:00")
    assert third == AudienceEntry(segment="staff")
    name = Variable("user", "first_name", Case.CapitalizeFirst, fallback="cher client")
    assert campaign.variables == {"first_name": name}
    assert campaign.settings.re_entry == ReEntry(times=1, per=timedelta(days=30))
    assert campaign.settings.when_unknown.after == timedelta(minutes=10)
    assert campaign.settings.when_unknown.then == "resend"
    assert list(campaign.steps) == ["offer", "last"]
    assert campaign.first_step == "offer"


def test_a_message_step_keeps_variables_buttons_header_and_ways() -> None:
    offer, last = load(FULL).steps.values()
    assert isinstance(offer, MessageStep) and isinstance(offer.message, TemplateMessage)
    assert isinstance(last, MessageStep) and isinstance(last.message, TemplateMessage)
    assert offer.message.language == LanguageByContact(user="locale", fallback="fr")
    assert offer.message.header == Header(
        kind="document", value=Variable("text", "https://example.com/a.pdf"), filename=Variable("user", "file")
    )
    assert offer.message.variables == {
        "1": Variable("event", "order.number"),
        "discount": Variable("text", "20 %"),
        "amount": Variable("user", "spent", format=2),
        "day": Variable("user", "seen", format="%d/%m", timezone="Europe/Paris"),
    }
    assert list(offer.message.buttons) == [0, "Acheter"]
    assert offer.message.expires == timedelta(hours=12)
    assert offer.on_read == OnRead(within=timedelta(days=2), read="end", not_read="last", undelivered="last")
    assert offer.on_skip == {"not_opted_in": "last", "else": "end"}
    assert offer.on_failure == "last"
    assert last.message.language == "no"
    assert last.message.header == Header(kind="image", value=Variable("text", "https://example.com/a.jpg"))
    assert last.on_skip == {"else": "end"}


def test_what_is_not_written_has_the_defaults_of_the_language() -> None:
    campaign = load(MINIMAL)
    assert (campaign.description, campaign.draft) == ("", False)
    assert campaign.settings.re_entry is None
    assert campaign.settings.when_unknown.after == timedelta(hours=24)
    assert campaign.settings.when_unknown.then == "assume_sent"
    step = campaign.message_steps()["hello"]
    assert (step.next, step.on_read, step.on_failure) == (None, None, "end")
    assert step.on_skip == {"else": "end"}
    assert step.message.expires == timedelta(hours=24)
    assert When(at="x").late == timedelta(hours=2)


def test_a_step_names_every_way_out_and_whether_it_waits() -> None:
    offer, last = load(FULL).steps.values()
    assert list(offer.ways()) == [
        (("on_read", "read"), Branch.read, "end", True),
        (("on_read", "not_read"), Branch.not_read, "last", True),
        (("on_read", "undelivered"), Branch.undelivered, "last", True),
        (("on_skip", "not_opted_in"), Branch.on_skip, "last", False),
        (("on_skip", "else"), Branch.on_skip, "end", False),
        (("on_failure",), Branch.on_failure, "last", False),
    ]
    assert next(last.ways()) == (("next",), Branch.next, "end", False)


EVERY = """\
name: autumn
sender: main
entries:
  - trigger:
      event: order_status_changed
      where: {status: Ready for pickup, amount: {at_least: 20}}
      key: order_number
      active: {from: 2026-11-01, to: 2026-12-31}
      max_age: 6h
  - trigger: {event: team_invited, contacts: {event: member_ids}}
  - api: {attributes: [offer, survey_id]}
  - api: {}
settings:
  re_entry: always
  silent_hours: {from: 21:00, to: "08:00", days_off: [sun, Mon], timezone: contact}
  frequency_cap: {messages: 2, per: 7d}
  goals:
    - {event: purchase, where: {amount: {at_least: 20}}, within: 14d, ends_journey: true}
    - {event: visit}
    - {event: purchase}
  exit_on: [{event: order_cancelled, where: {status: done}}, {event: left}]
  control_group: 5%
  stop_if: {audience_above: 50000, failures_above: 2.5%, cost_above: 200.50 EUR}
steps:
  offer:
    message:
      template: offer
      language: fr
      header:
        location: {latitude: 48.8566, longitude: -2, name: {user: shop}, address: "1 rue X"}
      buttons:
        Acheter: {link: "https://shop.example.com/p/{product_id}", variables: {product_id: {user: product_id}}}
        1: {text: x}
      coupons: {pool: autumn, tag: autumn_coupon}
      frequency_cap: ignore
    on_reply:
      within: 24h
      answers: {"Oui, ça m’intéresse": details, no: end, 1: pause}
      other: details
      silence: pause
      full_wait: true
  details:
    message: {text: "Voici {first_name} !", variables: {first_name: {user: first_name}}, expires: 1h}
    next: pause
  capped:
    message: {template: offer, language: fr, frequency_cap: {messages: 1, per: 1d}}
    on_read: {within: 1d, read: end, not_read: end, full_wait: true}
  pause: {delay: {for: 3d}, next: bought}
  evening: {delay: {until: 18:00}}
  monday: {delay: {until: mon 09:00}}
  christmas: {delay: {until: 2026-12-24T09:00}}
  before: {delay: {until: {event: appointment_at}, shift: -24h, if_past: end}, next: pause}
  after: {delay: {until: {user: contract.ends}, shift: +2h}}
  bought:
    wait_for:
      within: 14d
      branches:
        - {event: purchase, where: {amount: {at_least: 20}}, next: by_value}
        - {reply_to: offer, is: [Oui, yes], next: details}
        - {reply_to: offer, is: Non, next: end}
        - {reply_to: offer, next: end}
        - {read: offer, next: details}
        - {click: offer, button: Acheter, next: details}
        - {click: offer, button: 1, next: details}
        - {click: offer, next: details}
      else: by_value
      full_wait: true
  by_value:
    split:
      branches:
        - {segment: loyal, next: test}
        - {user: {total_spent: {at_least: 100}, country: FR}, next: mark}
        - {event: {amount: {at_least: 50}}, next: mark}
      else: mark
  test: {experiment: {a: {weight: 50, next: offer}, b: {weight: 0.5, next: mark}}}
  mark: {update: {set: {status: warm, points: 0, vip: true, old: null}, add_tags: [a b], remove_tags: [cold]}}
"""

AMOUNT = {"amount": Condition(Operator.at_least, 20)}


def test_every_kind_of_entry_is_read() -> None:
    order, team, api, bare = load(EVERY).entries
    assert order == TriggerEntry(
        event="order_status_changed",
        where={"status": Condition(Operator.is_, "Ready for pickup"), **AMOUNT},
        key="order_number",
        active_from="2026-11-01",
        active_to="2026-12-31",
        max_age=timedelta(hours=6),
    )
    assert team == TriggerEntry(event="team_invited", contacts="member_ids")
    assert team.kind == "trigger" and team.max_age == timedelta(hours=24)
    assert (api, bare) == (ApiEntry(attributes=("offer", "survey_id")), ApiEntry())


def test_every_setting_is_read() -> None:
    settings = load(EVERY).settings
    assert settings.re_entry == "always"
    assert settings.silent_hours == SilentHours(start=time(21), end=time(8), days_off=frozenset({6, 0}))
    assert settings.frequency_cap == FrequencyCap(messages=2, per=timedelta(days=7))
    assert settings.goals == (
        Goal(event="purchase", name="purchase", where=AMOUNT, within=timedelta(days=14), ends_journey=True),
        Goal(event="visit", name="visit", within=timedelta(days=30)),
        Goal(event="purchase", name="purchase 2"),
    )
    cancelled = EventMatch(event="order_cancelled", where={"status": Condition(Operator.is_, "done")})
    assert settings.exit_on == (cancelled, EventMatch(event="left"))
    assert settings.control_group == 0.05
    assert settings.stop_if == StopIf(
        audience_above=50_000, failures_above=0.025, cost_above=(Decimal("200.50"), "EUR")
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("silent_hours: none", ("none", None)),
        ("silent_hours: {days_off: [sat, sun]}", (SilentHours(days_off=frozenset({5, 6})), None)),
        (
            "silent_hours: {from: 12:30, to: 14:00, timezone: Asia/Tokyo}",
            (SilentHours(start=time(12, 30), end=time(14), timezone="Asia/Tokyo"), None),
        ),
        ("frequency_cap: ignore", (None, "ignore")),
        ("description: x", (None, None)),
    ],
)
def test_silence_and_caps_may_be_words(written: str, read: tuple[object, object]) -> None:
    settings = load(MINIMAL + (written if "desc" in written else f"settings: {{{written}}}") + "\n").settings
    assert (settings.silent_hours, settings.frequency_cap) == read


def test_every_way_to_fill_a_message_is_read() -> None:
    steps = load(EVERY).message_steps()
    offer = steps["offer"].message
    assert isinstance(offer, TemplateMessage)
    place = Location(
        latitude=Variable("text", "48.8566"),
        longitude=Variable("text", "-2"),
        name=Variable("user", "shop"),
        address=Variable("text", "1 rue X"),
    )
    assert offer.header == Header(kind="location", location=place)
    link = Link(url="https://shop.example.com/p/{product_id}", variables={"product_id": Variable("user", "product_id")})
    assert offer.buttons == {"Acheter": link, 1: Variable("text", "x")}
    assert offer.coupons == Coupons(pool="autumn", tag="autumn_coupon")
    assert offer.frequency_cap == "ignore"
    assert steps["details"].message == TextMessage(
        text="Voici {first_name} !",
        variables={"first_name": Variable("user", "first_name")},
        expires=timedelta(hours=1),
    )
    capped = steps["capped"]
    assert isinstance(capped.message, TemplateMessage) and capped.on_read is not None
    assert capped.message.frequency_cap == FrequencyCap(messages=1, per=timedelta(days=1))
    assert capped.on_read.full_wait


def test_answers_are_texts_whatever_yaml_once_made_of_them() -> None:
    assert load(EVERY).message_steps()["offer"].on_reply == OnReply(
        within=timedelta(hours=24),
        answers={"Oui, ça m’intéresse": "details", "no": "end", "1": "pause"},
        other="details",
        silence="pause",
        full_wait=True,
    )


def test_every_kind_of_delay_is_read() -> None:
    steps = load(EVERY).steps
    assert steps["pause"] == DelayStep(length=timedelta(days=3), next="bought")
    assert steps["evening"] == DelayStep(until=Until(clock=time(18)))
    assert steps["monday"] == DelayStep(until=Until(clock=time(9), weekday=0))
    assert steps["christmas"] == DelayStep(until=Until(at="2026-12-24T09:00"))
    before = DelayStep(until=Until(event="appointment_at"), shift=timedelta(hours=-24), if_past="end", next="pause")
    assert steps["before"] == before
    assert steps["after"] == DelayStep(until=Until(user="contract.ends"), shift=timedelta(hours=2))


def test_every_branch_of_waits_splits_and_experiments_is_read() -> None:
    steps = load(EVERY).steps
    assert steps["bought"] == WaitForStep(
        within=timedelta(days=14),
        branches=(
            WaitBranch(kind="event", match=EventMatch(event="purchase", where=AMOUNT), next="by_value"),
            WaitBranch(kind="reply", step="offer", answers=("Oui", "yes"), next="details"),
            WaitBranch(kind="reply", step="offer", answers=("Non",), next="end"),
            WaitBranch(kind="reply", step="offer", next="end"),
            WaitBranch(kind="read", step="offer", next="details"),
            WaitBranch(kind="click", step="offer", button="Acheter", next="details"),
            WaitBranch(kind="click", step="offer", button=1, next="details"),
            WaitBranch(kind="click", step="offer", next="details"),
        ),
        otherwise="by_value",
        full_wait=True,
    )
    spent = {"total_spent": Condition(Operator.at_least, 100), "country": Condition(Operator.is_, "FR")}
    assert steps["by_value"] == SplitStep(
        branches=(
            SplitBranch(segment="loyal", next="test"),
            SplitBranch(user=spent, next="mark"),
            SplitBranch(event={"amount": Condition(Operator.at_least, 50)}, next="mark"),
        ),
        otherwise="mark",
    )
    assert steps["test"] == ExperimentStep(arms={"a": Arm(weight=50, next="offer"), "b": Arm(weight=0.5, next="mark")})
    assert steps["mark"] == UpdateStep(
        set={"status": "warm", "points": 0, "vip": True, "old": None}, add_tags=("a b",), remove_tags=("cold",)
    )


def test_the_version_changes_with_every_byte_of_the_file() -> None:
    assert load(MINIMAL).version != load(MINIMAL + "# a remark\n").version
    assert load(MINIMAL).version != load(MINIMAL.replace("\n", "\r\n")).version


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(MINIMAL).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        # unknown keys name the nearest known one
        ("sender: main", "sender: main\nsetings: {}", 3, "setings", "unknown key `setings`. Did you mean `settings`?"),
        ("segment: loyal", "segmnt: loyal", 3, "entries[0].audience.segmnt", "Did you mean `segment`?"),
        ("audience: {segment: loyal}", "trigger: {evnt: x}", 3, "entries[0].trigger.evnt", "Did you mean `event`?"),
        ("audience: {segment: loyal}", "webhook: {}", 3, "entries[0].webhook", "Known: `api`, `audience`, `trigger`."),
        ("template: hello", "tmplate: hello", 5, "steps.hello.message.tmplate", "Did you mean `template`?"),
        ("fr}}", "fr}, delay: {for: 3d}}", 5, "steps.hello", "a step has `message` and `delay`"),
        ("fr}}", "fr, text: x}}", 5, "steps.hello.message", "a message has `template` and `text`"),
        ("language: fr", "language: {user: x, fallbak: fr}", 5, "steps.hello.message.language.fallbak", "`fallback`?"),
        ("fr}}", "fr, header: {gif: x}}}", 5, "steps.hello.message.header.gif", "unknown key `gif`"),
        # missing
        (
            "sender: main\n",
            "",
            1,
            "sender",
            "`sender` is missing. Add `sender:` (One of the senders of estafette.yaml)",
        ),
        ("{segment: loyal}", "{when: {at: x}}", 3, "entries[0].audience.segment", "`segment` is missing"),
        ("entries: [{audience: {segment: loyal}}]", "entries: []", 3, "entries", "is empty"),
        ("  hello: {message: {template: hello, language: fr}}", "  hello: {next: end}", 5, "steps.hello", "`message`"),
        # left empty
        ("sender: main", "sender:", 2, "sender", "`sender` has no value"),
        ("fr}}", "fr}, next: }", 5, "steps.hello.next", "`next` has no value"),
        # of the wrong kind
        ("name: autumn", "name: 2026", 1, "name", 'Put it in quotes: "2026"'),
        ("sender: main", "sender: main\ndraft: no", 3, "draft", "true or false is wanted here, not “no”"),
        ("sender: main", "sender: main\nvariables: {a: x}", 3, "variables.a", "Write e.g. {user: first_name"),
        ("sender: main", "sender: main\nvariables: [a]", 3, "variables", "a mapping"),
        ("[{audience: {segment: loyal}}]", "{audience: {segment: loyal}}", 3, "entries", "a list is wanted"),
        ("segment: loyal", "segment: '  '", 3, "entries[0].audience.segment", "blank"),
        # variables
        ("main", "main\nvariables: {a: {user: b, text: c}}", 3, "variables.a", "a variable has `user` and `text`"),
        ("main", "main\nvariables: {a: {case: lowercase}}", 3, "variables.a", "none of `user`, `event`, `text`"),
        ("main", "main\nvariables: {a: {text: 20}}", 3, "variables.a.text", 'Put it in quotes: "20"'),
        ("main", "main\nvariables: {a: {text: ' '}}", 3, "variables.a.text", "blank"),
        ("main", "main\nvariables: {a: {user: b, fallback: ''}}", 3, "variables.a.fallback", "blank"),
        ("main", "main\nvariables: {a: {user: b, case: upper}}", 3, "variables.a.case", "Did you mean `UPPERCASE`?"),
        ("main", "main\nvariables: {a: {user: b, format: money}}", 3, "variables.a.format", "date pattern"),
        ("main", "main\nvariables: {a: {user: b, format: 99}}", 3, "variables.a.format", "from 0 to 10"),
        ("main", "main\nvariables: {a: {user: b, format: true}}", 3, "variables.a.format", "date pattern"),
        ("main", "main\nvariables: {1: {user: b}, '1': {user: c}}", 3, "variables", "`1` is written twice"),
        # schedules
        ("loyal", "loyal, when: {}", 3, "entries[0].audience.when", "`when` has none of `at`, `cron`"),
        ("loyal", "loyal, when: {at: x, cron: y}", 3, "entries[0].audience.when", "`at` and `cron`"),
        ("loyal", "loyal, when: daily", 3, "entries[0].audience.when", "Write e.g. {cron:"),
        ("loyal", "loyal, when: {at: x, late: 2}", 3, "entries[0].audience.when.late", "without a unit"),
        ("loyal", "loyal, when: {at: x, late: 0h}", 3, "entries[0].audience.when.late", "zero"),
        ("loyal", "loyal, when: {at: x, if_past: next}", 3, "entries[0].audience.when.if_past", "`next_day`?"),
        # settings
        ("main", "main\nsettings: {re_entry: never}", 3, "settings.re_entry", "`always`"),
        ("main", "main\nsettings: {re_entry: {times: 0, per: 1d}}", 3, "settings.re_entry.times", "from 1"),
        ("main", "main\nsettings: {re_entry: {times: 1.5, per: 1d}}", 3, "settings.re_entry.times", "whole number"),
        ("main", "main\nsettings: {re_entry: {times: 1}}", 3, "settings.re_entry.per", "`per` is missing"),
        ("main", "main\nsettings: {when_unknown: {then: assume}}", 3, "settings.when_unknown.then", "`assume_sent`"),
        # steps
        ("  hello:", "  end:", 5, "steps.end", "`end` is the word for leaving"),
        ("  hello:", "  2hello:", 5, "steps.2hello", "cannot name a step"),
        ("  hello:", "  2:", 5, "steps[2]", 'Put it in quotes: "2"'),
        (
            "fr}}",
            "fr}, next: end, on_read: {within: 1d, read: end, not_read: end}}",
            5,
            "steps.hello",
            "`next` and `on_read`",
        ),
        ("fr}}", "fr}, on_read: {within: 1d, read: end}}", 5, "steps.hello.on_read.not_read", "is missing"),
        ("fr}}", "fr}, on_read: {within: soon, read: a, not_read: b}}", 5, "steps.hello.on_read.within", "30m, 24h"),
        ("fr}}", "fr}, on_skip: [end]}", 5, "steps.hello.on_skip", "wanted here, not a list"),
        ("fr}}", "fr}, on_skip: {else: 3}}", 5, "steps.hello.on_skip.else", "quotes"),
        ("fr}}", "fr, header: {}}}", 5, "steps.hello.message.header", "none of `image`"),
        ("fr}}", "fr, header: {image: a, video: b}}}", 5, "steps.hello.message.header", "`image` and `video`"),
        ("fr}}", "fr, header: {document: {filename: a}}}}", 5, "steps.hello.message.header.document.url", "is missing"),
        ("fr}}", "fr, header: {image: {url: a}}}}", 5, "steps.hello.message.header.image.url", "unknown key"),
        ("fr}}", "fr, buttons: {Buy: x}}}", 5, "steps.hello.message.buttons.Buy", "Write e.g. {user: first_name"),
        ("fr}}", "fr, expires: 0h}}", 5, "steps.hello.message.expires", "zero"),
        ("language: fr", "language: 3", 5, "steps.hello.message.language", "quotes"),
        # entries
        ("{audience: {segment: loyal}}", "{}", 3, "entries[0]", "none of `audience`, `trigger`, `api`"),
        ("{audience: {segment: loyal}}", "{api: }", 3, "entries[0].api", "e.g. {attributes: [offer, survey_id]}, or"),
        ("{audience: {segment: loyal}}", "{api: {}, trigger: {event: a}}", 3, "entries[0]", "`trigger` and `api`"),
        ("{audience: {segment: loyal}}", "{api: {attributes: [a, a]}}", 3, "entries[0].api.attributes", "there twice"),
        ("audience: {segment: loyal}", "trigger: {}", 3, "entries[0].trigger.event", "`event` is missing"),
        ("audience: {segment: loyal}", "trigger: purchase", 3, "entries[0].trigger", "Write e.g. {event: order"),
        (
            "audience: {segment: loyal}",
            "trigger: {event: a, where: {b: {at_lest: 2}}}",
            3,
            "entries[0].trigger.where.b.at_lest",
            "Did you mean `at_least`?",
        ),
        (
            "audience: {segment: loyal}",
            "trigger: {event: a, active: {}}",
            3,
            "entries[0].trigger.active",
            "neither `from` nor `to`",
        ),
        (
            "audience: {segment: loyal}",
            "trigger: {event: a, active: 2026-01-01}",
            3,
            "entries[0].trigger.active",
            "Write e.g. {from: 2026-11-01, to: 2026-12-31}.",
        ),
        ("audience: {segment: loyal}", "trigger: {event: a, max_age: 0h}", 3, "entries[0].trigger.max_age", "zero"),
        (
            "audience: {segment: loyal}",
            "trigger: {event: a, contacts: ids}",
            3,
            "entries[0].trigger.contacts",
            "{event: member_ids}",
        ),
        # rules
        ("main", "main\nsettings: {silent_hours: {from: 21:00}}", 3, "settings.silent_hours", "no `to`"),
        ("main", "main\nsettings: {silent_hours: night}", 3, "settings.silent_hours", "Known: `none`. Or write e.g."),
        ("main", "main\nsettings: {frequency_cap: none}", 3, "settings.frequency_cap", "Did you mean `ignore`?"),
        ("main", "main\nsettings: {control_group: 5}", 3, "settings.control_group", "Write 5%"),
        ("main", "main\nsettings: {control_group: 0.05}", 3, "settings.control_group", "Write 5%"),
        ("main", "main\nsettings: {control_group: 100%}", 3, "settings.control_group", "less than 100%"),
        ("main", "main\nsettings: {goals: [purchase]}", 3, "settings.goals[0]", "Write e.g. {event: purchase"),
        ("main", "main\nsettings: {goals: [{event: a, within: 0d}]}", 3, "settings.goals[0].within", "zero"),
        ("main", "main\nsettings: {exit_on: [{event: a, within: 3d}]}", 3, "settings.exit_on[0].within", "unknown key"),
        ("main", "main\nsettings: {stop_if: {}}", 3, "settings.stop_if", "stops nothing"),
        ("main", "main\nsettings: {stop_if: {audience_above: 0}}", 3, "settings.stop_if.audience_above", "from 1"),
        ("main", "main\nsettings: {stop_if: {failures_above: 5}}", 3, "settings.stop_if.failures_above", "5%"),
        ("main", "main\nsettings: {stop_if: {cost_above: 200}}", 3, "settings.stop_if.cost_above", "e.g. 200 EUR"),
        ("main", "main\nsettings: {stop_if: {cost_above: 200 €}}", 3, "settings.stop_if.cost_above", "three letters"),
        ("main", "main\nsettings: {stop_if: {cost_above: 0 EUR}}", 3, "settings.stop_if.cost_above", "first message"),
        # messages
        ("{template: hello, language: fr}", "{}", 5, "steps.hello.message", "none of `template`, `text`"),
        ("{template: hello, language: fr}", "{txt: a}", 5, "steps.hello.message.txt", "Did you mean `text`?"),
        ("template: hello,", "text: hello,", 5, "steps.hello.message.language", "has no place beside `text`"),
        ("fr}}", "fr, coupons: autumn}}", 5, "steps.hello.message.coupons", "Write e.g. {pool: autumn"),
        ("fr}}", "fr, frequency_cap: {per: 7d}}}", 5, "steps.hello.message.frequency_cap.messages", "is missing"),
        ("fr}}", "fr, buttons: {A: {lnk: x}}}}", 5, "steps.hello.message.buttons.A.lnk", "Did you mean `link`?"),
        ("fr}}", "fr, buttons: {A: {link: x, user: y}}}}", 5, "steps.hello.message.buttons.A.user", "beside `link`"),
        ("fr}}", "fr, header: {location: x}}}", 5, "steps.hello.message.header.location", "Write e.g. {latitude: 48"),
        # answers
        ("fr}}", "fr}, on_reply: {}}", 5, "steps.hello.on_reply.within", "`within` is missing"),
        ("fr}}", "fr}, on_reply: {within: 1d, answers: {1: a, '1': b}}}", 5, "steps.hello.on_reply.answers", "twice"),
        ("fr}}", "fr}, on_reply: {within: 1d, answers: {a: }}}", 5, "steps.hello.on_reply.answers.a", "no value"),
        ("fr}}", "fr}, on_reply: {within: 1d}, next: end}", 5, "steps.hello", "`next` and `on_reply`"),
        # the name
        ("name: autumn", "name: spring", 1, "name", "Write `name: autumn`"),
    ],
)
def test_a_mistake_is_one_finding_with_its_line_its_field_and_its_mend(
    old: str, new: str, line: int, field: str, words: str
) -> None:
    text = MINIMAL.replace(old, new, 1)
    assert text != MINIMAL
    found = findings(text)
    assert len(found) == 1, found
    assert found[0][:2] == (line, field)
    assert words in found[0][2]


@pytest.mark.parametrize(
    ("step", "field", "words"),
    [
        ("{}", "", "none of `message`, `delay`, `wait_for`, `split`, `experiment`, `update`"),
        ("{delay: {for: 3d}, on_skip: end}", "on_skip", "`on_skip` is for messages, and this step has a `delay`"),
        ("{delay: 3d}", "delay", "Write e.g. {for: 3d} or {until: {event: appointment_at}, shift: -24h}."),
        ("{delay: {}}", "delay", "none of `for`, `until`"),
        ("{delay: {for: 3}}", "delay.for", "without a unit"),
        ("{delay: {for: 3d, until: 18:00}}", "delay", "`for` and `until`"),
        ("{delay: {for: 3d, shift: 2h}}", "delay.shift", "Add the two up"),
        ("{delay: {until: 18:00, shift: 2h}}", "delay.shift", "Write the shifted time itself."),
        ("{delay: {until: {event: x}, shift: 24}}", "delay.shift", "before (-24h) or after (2h)"),
        ("{delay: {until: 1800}}", "delay.until", 'Write "18:00"'),
        ("{delay: {until: monday}}", "delay.until", "no moment that can be waited for"),
        ("{delay: {until: mon}}", "delay.until", "Write e.g. mon 09:00."),
        ("{delay: {until: 2026-12-24}}", "delay.until", "Write e.g. 2026-12-24 09:00."),
        ("{delay: {until: 2026-13-24 10:00}}", "delay.until", "no moment"),
        ("{delay: {until: {}}}", "delay.until", "none of `event`, `user`"),
        ("{delay: {until: {event: x}, if_past: skip}}", "delay.if_past", "Known: `continue`, `end`."),
        ("{wait_for: {within: 3d, branches: []}}", "wait_for.branches", "is empty"),
        ("{wait_for: {within: 3d, branches: [{event: x}]}}", "wait_for.branches[0].next", "is missing"),
        ("{wait_for: {within: 3d, branches: [{next: end}]}}", "wait_for.branches[0]", "none of `event`, `reply_to`"),
        (
            "{wait_for: {within: 3d, branches: [{event: x, read: y, next: end}]}}",
            "wait_for.branches[0]",
            "`event` and `read`",
        ),
        (
            "{wait_for: {within: 3d, branches: [{read: x, where: {a: b}, next: end}]}}",
            "wait_for.branches[0].where",
            "of an event only",
        ),
        (
            "{wait_for: {within: 3d, branches: [{event: x, is: [a], next: end}]}}",
            "wait_for.branches[0].is",
            "of an answer only",
        ),
        (
            "{wait_for: {within: 3d, branches: [{read: x, button: a, next: end}]}}",
            "wait_for.branches[0].button",
            "of a tap only",
        ),
        (
            "{wait_for: {within: 3d, branches: [{click: x, button: [a], next: end}]}}",
            "wait_for.branches[0].button",
            "label or position",
        ),
        (
            "{wait_for: {within: 3d, branches: [{event: x, where: {}, next: end}]}}",
            "wait_for.branches[0].where",
            "no condition",
        ),
        ("{wait_for: {within: 3d, branches: [{event: x, next: end}]}, next: end}", "next", "branches and `else`"),
        ("{split: {else: end}}", "split.branches", "is missing"),
        ("{split: {branches: [{user: country, next: end}]}}", "split.branches[0].user", "conditions are wanted"),
        ("{split: {branches: [{usr: {a: b}, next: end}]}}", "split.branches[0].usr", "Did you mean `user`?"),
        ("{split: {branches: [{segment: a, next: end}]}, next: end}", "next", "no place beside `split`"),
        ("{experiment: {}}", "experiment", "is empty"),
        ("{experiment: {a: 50}}", "experiment.a", "Write e.g. {weight: 50, next: offer}."),
        ("{experiment: {a: {weight: 0, next: end}}}", "experiment.a.weight", "above 0"),
        ("{experiment: {a: {weight: .inf, next: end}}}", "experiment.a.weight", "above 0"),
        ("{experiment: {a: {weight: 50%, next: end}}}", "experiment.a.weight", "without quotes, e.g. 50"),
        ("{experiment: {a b: {weight: 50, next: end}}}", "experiment.a b", "cannot name an arm"),
        ("{experiment: {a: {weight: 50, next: end}}, next: end}", "next", "in its arms"),
        ("{update: {}}", "update", "changes nothing"),
        ("{update: {set: {a: [1]}}}", "update.set.a", "one value"),
        ("{update: {set: {a: .nan}}}", "update.set.a", "no number"),
        ("{update: {add_tags: a}}", "update.add_tags", "a list is wanted"),
        ("{update: {add_tags: [a|b]}}", "update.add_tags[0]", "separates tags"),
        ("{update: {add_tags: [a], remove_tags: [a]}}", "update", "added and removed"),
    ],
)
def test_a_mistake_in_a_step_is_one_finding_with_its_field_and_its_mend(step: str, field: str, words: str) -> None:
    text = MINIMAL.replace("{message: {template: hello, language: fr}}", step)
    found = findings(text)
    assert len(found) == 1, found
    assert found[0][:2] == (5, f"steps.hello.{field}".rstrip("."))
    assert words in found[0][2]


def test_every_mistake_is_found_at_once_and_in_the_order_of_lines() -> None:
    text = FULL.replace("segment: inactive_30d", "segmnt: inactive_30d").replace("case: Cap", "case: cap")
    text = text.replace("expires: 12h", "expires: soon").replace("sender: main\n", "")
    found = findings(text)
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    assert {field for _, field, _ in found} == {
        "sender",
        "entries[0].audience.segmnt",
        "variables.first_name.case",
        "steps.offer.message.expires",
    }


def test_yaml_that_cannot_be_read_and_keys_written_twice_are_findings_too() -> None:
    assert findings("name: [")[0][0] == 1
    assert findings(MINIMAL + "name: autumn\n")[0][:2] == (6, "name")
    assert "empty" in findings("")[0][2]
    assert "mapping" in findings("- a\n")[0][2]


def test_a_campaign_whose_name_is_not_its_files_is_read_for_further_checks() -> None:
    campaign, problems = load_campaign(MINIMAL, "campaigns/winter.yaml")
    assert campaign is not None
    assert len(problems) == 1
    assert "winter" in problems[0].mend


def test_a_file_whose_own_name_cannot_name_a_campaign_is_refused() -> None:
    found = findings(MINIMAL, "campaigns/autumn offer.yaml")
    assert "cannot name a campaign" in found[0][2]


def test_a_misspelt_word_is_not_also_said_to_be_missing() -> None:
    assert [field for _, field, _ in findings(MINIMAL.replace("sender:", "sendr:"))] == ["sendr"]
