"""Every hole of a campaign is found before launch, with its line."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from journey.check import CheckContext, holes
from journey.fill import spec_for
from journey.problems import Problem, ProjectError
from journey.steps import TemplateMessage
from journey.template import Template
from tests.journey import checking
from tests.journey.checking import one, read, template

#: Good as it stands; each test spoils one thing.
TEXT = """\
name: autumn
sender: main
entries:
  - audience:
      segment: loyal
      when: {cron: "0 10 * * MON", timezone: contact, fallback: Europe/Paris}
variables:
  first_name: {user: first_name, fallback: cher client}
settings: {re_entry: once}
steps:
  offer:
    message:
      template: offer
      language: fr
      header: {image: "https://example.com/a.jpg"}
      variables:
        discount: {text: "20 %"}
      buttons:
        Acheter: {user: product_id, fallback: accueil}
    on_read: {within: 2d, read: end, not_read: reminder}
    on_skip: {not_opted_in: reminder, else: end}
  reminder:
    message: {template: reminder, language: {user: locale, fallback: fr}, variables: {1: {event: spent}}}
"""


BUTTONS = [
    {"type": "QUICK_REPLY", "text": "Non, merci"},
    {"type": "URL", "text": "Acheter", "url": "https://shop.example.com/p/{{1}}"},
    {"type": "URL", "text": "Aide", "url": "https://shop.example.com/aide"},
]
OFFER = template(
    "offer", "fr", "Bonjour {{first_name}}, {{discount}} pour vous.", header={"format": "IMAGE"}, buttons=BUTTONS
)
REMINDER = template("reminder", "fr", "Encore {{1}} euros !")
TEMPLATES = [OFFER, REMINDER]


def context(templates: list[Template] | None = None, **other: Any) -> CheckContext:
    return checking.context(TEMPLATES if templates is None else templates, **other)


def found(text: str, given: CheckContext | None = None) -> list[Problem]:
    return checking.found(text, given or context())


def spoil(old: str, new: str, text: str = TEXT) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_a_good_campaign_has_no_findings() -> None:
    assert found(TEXT) == []
    assert holes(*read(TEXT), context()) == []


SPOILED = [
    # what the campaign names outside itself
    ("sender: main", "sender: man", 2, "sender", "no sender `man`", "Did you mean `main`?"),
    ("segment: loyal", "segment: loyel", 5, "entries[0].audience.segment", "no segment `loyel`", "`loyal`?"),
    # schedules
    ("0 10 * * MON", "0 25 * * MON", 6, "entries[0].audience.when.cron", "the hour of", "minute hour day"),
    ("0 10 * * MON", "10:00", 6, "entries[0].audience.when.cron", "1 field,", "minute hour day"),
    ("timezone: contact", "timezone: Paris", 6, "entries[0].audience.when.timezone", "time zone", "Or write contact."),
    ("fallback: Europe/Paris", "fallback: Europe/Pari", 6, "entries[0].audience.when.fallback", "", "Europe/Paris?"),
    ('cron: "0 10 * * MON"', "at: tomorrow", 6, "entries[0].audience.when.at", "not a date with a time", "2026-12-01"),
    ('cron: "0 10 * * MON"', "at: 2026-12-01", 6, "entries[0].audience.when.at", "not a date with a time", ""),
    ('cron: "0 10 * * MON"', "at: 2026-02-30 10:00", 6, "entries[0].audience.when.at", "no time that exists", ""),
    ('cron: "0 10 * * MON"', "at: 2026-12-01T10:00Z", 6, "entries[0].audience.when.at", "names a zone", "Remove"),
    ('cron: "0 10 * * MON"', "at: 0001-01-01 00:00", 6, "entries[0].audience.when.at", "the year 1 is", ""),
    ("fallback: Eu", "not_after: soon, fallback: Eu", 6, "entries[0].audience.when.not_after", "not a date", ""),
    (
        'cron: "0 10 * * MON"',
        "at: 2026-12-01 10:00, not_after: 2026-12-01 09:00",
        6,
        "entries[0].audience.when.not_after",
        "`not_after` is before `at`",
        "later",
    ),
    ("settings: {re_entry: once}\n", "", 6, "entries[0].audience.when.cron", "come back", "Add `re_entry`"),
    # steps
    (
        "not_read: reminder}",
        "not_read: remider}",
        20,
        "steps.offer.on_read.not_read",
        "no step `remider`",
        "`reminder`?",
    ),
    ("read: end,", "read: ende,", 20, "steps.offer.on_read.read", "no step `ende`", "`end`?"),
    ("within: 2d", "within: 8d", 20, "steps.offer.on_read.within", "8d is too long", "at most 7d"),
    ("{not_opted_in:", "{not_opted:", 21, "steps.offer.on_skip.not_opted", "no reason to skip", "`not_opted_in`?"),
    ("in: reminder,", "in: last,", 21, "steps.offer.on_skip.not_opted_in", "no step `last`", "Known:"),
    ("{not_opted_in: reminder, else: end}", "remind", 21, "steps.offer.on_skip", "no step `remind`", "`reminder`?"),
    ("else: end}\n", "else: end}\n    on_failure: no\n", 22, "steps.offer.on_failure", "no step `no`", "`end`"),
    # templates
    ("template: offer", "template: ofer", 13, "steps.offer.message.template", "no template `ofer`", "`offer`?"),
    ("language: fr\n", "language: de\n", 14, "steps.offer.message.language", "language `de`", "It exists in `fr`."),
    ("fallback: fr}, var", "fallback: fr_CA}, var", 23, "steps.reminder.message.language.fallback", "`fr_CA`", "`fr`."),
    # placeholders and variables
    ("discount:", "discnt:", 17, "steps.offer.message.variables.discnt", "no placeholder {{discnt}}", "`discount`?"),
    ("{1: {event", "{2: {event", 23, "steps.reminder.message.variables.2", "no placeholder {{2}}", "`1`"),
    # headers
    ("image: ", "video: ", 15, "steps.offer.message.header.video", "with an image, not with a video", "{image: …}"),
    ("https://example.com/a.jpg", "a.jpg", 15, "steps.offer.message.header.image", "no public address", "https://"),
    ("https://example.com/a.jpg", "ftp://a/b", 15, "steps.offer.message.header.image", "no public address", ""),
    # buttons
    ("Acheter:", "Achete:", 19, "steps.offer.message.buttons.Achete", "no button “Achete”", "“Acheter”?"),
    ("Acheter:", "3:", 19, "steps.offer.message.buttons.3", "no button at position 3", "“Aide”"),
    ("Acheter:", '"1":', 19, "steps.offer.message.buttons.1", "no button “1”", "without quotes"),
    # variables
    (
        "user: product_id",
        "user: produkt_id",
        19,
        "steps.offer.message.buttons.Acheter.user",
        "no known",
        "`product_id`?",
    ),
    ("user: first_name", "user: firstname", 8, "variables.first_name.user", "no known contact", "`first_name`?"),
    ("user: locale", "user: lang", 23, "steps.reminder.message.language.user", "no known contact", "Known:"),
    (
        "fallback: cher client",
        'fallback: "cher\\nclient"',
        8,
        "variables.first_name.fallback",
        "a new line",
        "one line",
    ),
    ("fallback: accueil", 'fallback: "a\\tb"', 19, "steps.offer.message.buttons.Acheter.fallback", "a tab", "one line"),
    ("fallback: cher", "timezone: Mars, fallback: cher", 8, "variables.first_name.timezone", "no known time zone", ""),
    ("fallback: cher", 'format: "%Q", fallback: cher', 8, "variables.first_name.format", "%Q", "%d/%m"),
]


@pytest.mark.parametrize(("old", "new", "line", "field", "what", "mend"), SPOILED)
def test_a_hole_is_found_with_its_line_its_field_and_what_to_do(
    old: str, new: str, line: int, field: str, what: str, mend: str
) -> None:
    text = spoil(old, new)
    matching = [problem for problem in found(text) if problem.field == field]
    problem = one(matching)
    assert problem.level == "error"
    assert problem.line == line
    assert what in problem.message
    assert mend in problem.mend
    assert problem in holes(*read(text), context())


def test_a_campaign_with_a_misspelt_segment_names_no_other_hole() -> None:
    assert one(found(spoil("segment: loyal", "segment: loyel"))).field == "entries[0].audience.segment"


def test_a_segment_with_a_finding_of_its_own_is_said_to_be_broken_and_not_unknown() -> None:
    problem = one(found(TEXT, context(segments={"staff"}, broken_segments={"loyal"})))
    assert problem.message == "the segment `loyal` cannot be used"


def test_a_project_without_senders_segments_or_templates_says_how_to_make_them() -> None:
    problems = found(TEXT, context(templates=[], senders=set(), segments=set()))
    mends = {problem.field: problem.mend for problem in problems}
    assert mends["sender"] == "Add it under `senders`."
    assert mends["entries[0].audience.segment"] == "Add segments/loyal.sql or .yaml."
    assert "estafette templates pull" in mends["steps.offer.message.template"]


def test_settings_that_cannot_be_read_are_not_held_against_a_campaign() -> None:
    assert found(TEXT, context(senders=None, timezone=None)) == []


# --- the way through


def steps(*lines: str) -> str:
    head = "name: autumn\nsender: main\nentries: [{audience: {segment: loyal}}]\nsteps:\n"
    return head + "".join(f"  {line}\n" for line in lines)


M = "message: {template: hello, language: fr}"
HELLO = [template("hello", "fr", "Bonjour !")]


def test_a_step_that_nothing_leads_to_is_a_hole() -> None:
    problem = one(found(steps(f"a: {{{M}}}", f"b: {{{M}, next: a}}"), context(HELLO)))
    assert (problem.line, problem.field) == (6, "steps.b")
    assert "no way leads to the step `b` from the first step, `a`" in problem.message


def test_a_loop_in_which_nobody_waits_is_a_hole_at_the_arrow_that_closes_it() -> None:
    text = steps(f"a: {{{M}, next: b}}", f"b: {{{M}, next: c}}", f"c: {{{M}, next: b}}")
    problem = one(found(text, context(HELLO)))
    assert (problem.line, problem.field) == (7, "steps.c.next")
    assert "b → c → b" in problem.message


@pytest.mark.parametrize("way", ["next: a", "on_skip: a", "on_skip: {too_late: a}", "on_failure: a"])
def test_a_step_that_leads_to_itself_at_once_is_a_loop(way: str) -> None:
    problem = one(found(steps(f"a: {{{M}, {way}}}"), context(HELLO)))
    assert "a → a" in problem.message
    assert problem.line == 5


def test_a_loop_that_waits_for_a_read_is_no_hole() -> None:
    text = steps(f"a: {{{M}, on_read: {{within: 1d, read: end, not_read: b}}}}", f"b: {{{M}, next: a}}")
    assert found(text, context(HELLO)) == []


def test_two_ways_to_one_step_are_no_loop() -> None:
    text = steps(f"a: {{{M}, next: b, on_failure: c}}", f"b: {{{M}, next: c}}", f"c: {{{M}}}")
    assert found(text, context(HELLO)) == []


def test_a_chain_of_a_thousand_steps_is_checked() -> None:
    lines = [f"s{number}: {{{M}, next: s{number + 1}}}" for number in range(1000)]
    problem = one(found(steps(*lines, f"s1000: {{{M}, next: s0}}"), context(HELLO)))
    assert "closes a loop" in problem.message


# --- languages and approval


def test_a_template_that_is_not_approved_is_an_error_and_no_hole() -> None:
    given = context([replace(OFFER, status="PAUSED"), REMINDER])
    problem = one(found(TEXT, given))
    assert (problem.level, problem.line, problem.field) == ("error", 14, "steps.offer.message.language")
    assert "PAUSED in `fr`" in problem.message
    assert holes(*read(TEXT), given) == []


def test_a_language_is_served_by_its_base_but_not_the_other_way_round() -> None:
    text = spoil("language: fr\n", "language: fr-CA\n")
    assert found(text) == []
    regional = context([replace(OFFER, language="fr_CA"), REMINDER])
    assert found(text, regional) == []
    assert "does not exist in the language `fr`" in one(found(TEXT, regional)).message


def test_an_approved_base_serves_where_the_exact_language_is_not_approved() -> None:
    text = spoil("language: fr\n", "language: fr_CA\n")
    given = context([replace(OFFER, language="fr_CA", status="REJECTED"), OFFER, REMINDER])
    assert found(text, given) == []


def test_a_language_by_contact_without_a_fallback_is_a_warning() -> None:
    text = spoil("{user: locale, fallback: fr}", "{user: locale}")
    problem = one(found(text))
    assert (problem.level, problem.line, problem.field) == ("warning", 23, "steps.reminder.message.language")


def test_a_template_approved_in_no_language_is_found_for_a_language_by_contact() -> None:
    text = spoil("{user: locale, fallback: fr}", "{user: locale}")
    problems = found(text, context([OFFER, replace(REMINDER, status="PENDING")]))
    assert [problem.level for problem in problems] == ["warning", "error"]
    assert "PENDING in `fr`" in problems[1].message


def test_every_language_that_a_contact_may_get_is_checked() -> None:
    english = template("reminder", "en", "Another {{1}} euros, {{name}}!")
    problem = one(found(TEXT, context([*TEMPLATES, english])))
    assert "{{name}} of the template `reminder` (en)" in problem.message
    assert problem.line == 23


# --- placeholders


def test_a_placeholder_without_a_variable_is_a_hole() -> None:
    text = spoil("variables: {1: {event: spent}}", "variables: {}")
    problem = one(found(text))
    assert (problem.line, problem.field) == (23, "steps.reminder.message.variables")
    assert "nothing fills the placeholder {{1}} of the template `reminder` (fr)" in problem.message
    assert '"1": {user:' in problem.mend


def test_a_shared_variable_that_no_template_uses_is_a_warning() -> None:
    text = spoil("variables:\n", "variables:\n  surname: {text: x}\n")
    problem = one(found(text))
    assert (problem.level, problem.line, problem.field) == ("warning", 8, "variables.surname")


def test_a_template_that_a_campaign_cannot_fill_is_a_hole() -> None:
    product = template("reminder", "fr", "Encore {{1}} !", buttons=[{"type": "SPM", "text": "Voir"}])
    problem = one(found(TEXT, context([OFFER, product])))
    assert problem.field == "steps.reminder.message.template"
    assert "SPM" in problem.message


def test_constants_that_make_a_body_too_long_are_a_hole() -> None:
    text = spoil('text: "20 %"', f'text: "{"x" * 1010}"')
    problem = one(found(text))
    assert problem.field == "steps.offer.message.variables"
    assert "at least 1,032 characters; Meta takes 1,024" in problem.message
    assert found(spoil('text: "20 %"', f'text: "{"x" * 1002}"')) == []


def test_constants_that_make_a_url_too_long_are_a_hole() -> None:
    text = spoil("{user: product_id, fallback: accueil}", f'{{text: "{"x" * 2000}"}}')
    assert one(found(text)).field == "steps.offer.message.buttons.Acheter"


# --- headers and buttons


def test_a_template_with_media_and_a_message_without_are_a_hole() -> None:
    text = spoil('      header: {image: "https://example.com/a.jpg"}\n', "")
    problem = one(found(text))
    assert (problem.line, problem.field) == (12, "steps.offer.message.header")
    assert problem.mend.startswith("Add header: {image:")


@pytest.mark.parametrize("header", [None, {"format": "TEXT", "text": "Bonjour"}])
def test_media_for_a_template_without_are_a_hole(header: dict[str, str] | None) -> None:
    plain = template("offer", "fr", "Bonjour {{first_name}}, {{discount}}.", header=header, buttons=BUTTONS)
    problem = one(found(TEXT, context([plain, REMINDER])))
    assert (problem.line, problem.field, problem.mend) == (15, "steps.offer.message.header", "Remove `header`.")


def test_a_text_header_wants_text_and_no_more_than_meta_takes() -> None:
    header = {"format": "TEXT", "text": "Bonjour {{1}}"}
    given = context([template("offer", "fr", "{{first_name}} {{discount}}.", header=header, buttons=BUTTONS), REMINDER])
    without = spoil('      header: {image: "https://example.com/a.jpg"}\n', "")
    assert "header: {text: …}" in one(found(without, given)).mend
    image = 'image: "https://example.com/a.jpg"'
    assert found(spoil(image, "text: {user: first_name}"), given) == []
    problem = one(found(spoil(image, f"text: {'x' * 60}"), given))
    assert (problem.line, problem.field) == (15, "steps.offer.message.header.text")
    assert "68 characters" in problem.message


def test_a_document_may_have_a_file_name() -> None:
    given = context([replace(OFFER, header=template("x", "fr", "x", header={"format": "DOCUMENT"}).header), REMINDER])
    image = '{image: "https://example.com/a.jpg"}'
    assert found(spoil(image, "{document: {url: https://a.b/c.pdf, filename: c.pdf}}"), given) == []
    problem = one(found(spoil(image, "{document: {url: c.pdf, filename: c.pdf}}"), given))
    assert problem.field == "steps.offer.message.header.document.url"
    assert one(found(spoil(image, "{document: {url: {user: nope}}}"), given)).field.endswith("header.document.url.user")
    assert one(found(spoil(image, "{document: {user: nope}}"), given)).field.endswith("header.document.user")


def test_a_url_with_a_placeholder_that_nothing_fills_is_a_hole() -> None:
    text = spoil("      buttons:\n        Acheter: {user: product_id, fallback: accueil}\n", "")
    problem = one(found(text))
    assert (problem.line, problem.field) == (12, "steps.offer.message.buttons")
    assert "URL of the button “Acheter”" in problem.message


@pytest.mark.parametrize("key", ["Aide", "2", "Non, merci", "0"])
def test_a_button_without_a_placeholder_takes_no_value(key: str) -> None:
    quoted = key if key.isdecimal() else f'"{key}"'
    text = spoil("        Acheter:", f"        {quoted}: {{user: zip}}\n        Acheter:")
    problem = one(found(text))
    assert problem.line == 19
    assert "has nothing to fill" in problem.message


def test_a_button_filled_by_label_and_by_position_is_a_hole() -> None:
    text = spoil("        Acheter:", "        1: {user: zip}\n        Acheter:")
    problem = one(found(text))
    assert (problem.line, problem.field) == (20, "steps.offer.message.buttons.Acheter")
    assert "filled twice" in problem.message


def test_a_button_may_be_named_by_its_position() -> None:
    assert found(spoil("        Acheter:", "        1:")) == []


# --- properties


UNKNOWN = spoil("user: first_name", "user: firstname")


def test_an_unknown_property_is_an_error_once_contacts_are_loaded_and_a_warning_before() -> None:
    assert one(found(UNKNOWN)).level == "error"
    before = context(contacts_loaded=False)
    assert one(found(UNKNOWN, before)).level == "warning"
    assert holes(*read(UNKNOWN), before) == []


def test_nothing_is_said_of_properties_where_nobody_knows_them() -> None:
    assert found(UNKNOWN, context(properties=None)) == []


@pytest.mark.parametrize("name", ["contact_id", "phone", "locale", "order.number", "zip"])
def test_what_every_contact_has_and_what_is_nested_in_a_known_property_are_known(name: str) -> None:
    assert found(spoil("user: first_name", f"user: {name}")) == []


def test_an_attribute_that_the_segment_does_not_bring_is_a_hole_and_with_a_fallback_a_warning() -> None:
    assert found(TEXT, context(columns={"loyal": {"spent"}})) == []
    problem = one(found(TEXT, context(columns={"loyal": {"spend"}})))
    assert (problem.level, problem.line, problem.field) == ("error", 23, "steps.reminder.message.variables.1.event")
    assert problem.mend == "Did you mean `spend`?"
    assert "{user: …}" in one(found(TEXT, context(columns={"loyal": set()}))).mend
    text = spoil("{event: spent}", "{event: spent, fallback: vos}")
    assert one(found(text, context(columns={"loyal": set()}))).level == "warning"


# --- probably not meant


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("timezone: contact, fallback: Europe/Paris", "fallback: Europe/Paris", "fallback", "no effect"),
        ("timezone: contact, fallback: Europe/Paris", "if_past: now", "if_past", "no effect"),
        ("timezone: contact", "timezone: contact, late: 1m", "late", "leeway"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(old: str, new: str, field: str, words: str) -> None:
    problem = one(found(spoil(old, new)))
    assert (problem.level, problem.line, problem.field) == ("warning", 6, f"entries[0].audience.when.{field}")
    assert words in problem.message


def test_a_time_that_is_over_is_a_warning_once_it_is_over_everywhere() -> None:
    text = spoil('cron: "0 10 * * MON", timezone: contact, fallback: Europe/Paris', "at: 2026-12-01 10:00")
    before, after = datetime(2026, 12, 1, 11, tzinfo=UTC), datetime(2026, 12, 1, 11, 1, tzinfo=UTC)
    assert found(text, context(now=before)) == []  # 09:00 UTC and two hours of grace
    problem = one(found(text, context(now=after)))
    assert (problem.level, problem.line) == ("warning", 6)
    by_contact = spoil("at: 2026-12-01 10:00", "at: 2026-12-01 10:00, timezone: contact", text)
    assert found(by_contact, context(now=after)) == []


# --- check and rendering agree


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, new, *_ in SPOILED] + [("sender: main", "sender: main")])
def test_what_rendering_would_refuse_is_a_hole(old: str, new: str) -> None:
    campaign, source = read(spoil(old, new))
    found_holes = holes(campaign, source, context())
    for name, step in campaign.message_steps().items():
        assert isinstance(step.message, TemplateMessage)
        for one_template in TEMPLATES:
            if one_template.name != step.message.template:
                continue
            try:
                spec_for(step.message, campaign.variables, one_template)
            except ProjectError:
                assert any(re.match(rf"steps\.{name}\.|variables\.", hole.field) for hole in found_holes)
