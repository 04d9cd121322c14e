"""Holes in free text, counted links, coupons, places on the map, and what Meta's templates have room for."""

from typing import Any

import pytest

from journey.check import CheckContext
from journey.problems import Problem
from tests.journey import checking
from tests.journey.checking import found_holes, one, template

URL = {"type": "URL", "text": "Acheter", "url": "https://go.example.com/r/{{1}}"}
COPY = {"type": "COPY_CODE", "text": "Copier le code"}
TEMPLATES = [
    template("plain", "fr", "Bonjour !"),
    template("voucher", "fr", "Votre code {{voucher}} vous attend."),
    template("copy", "fr", "Copiez votre code.", buttons=[{"type": "QUICK_REPLY", "text": "Non"}, COPY]),
    template("link", "fr", "Bonjour !", buttons=[URL]),
    template("place", "fr", "Nous sommes ici.", header={"format": "LOCATION"}),
    template("voucher_header", "fr", "Bonjour !", header={"format": "TEXT", "text": "{{voucher}}"}),
    template("voucher_url", "fr", "Bonjour !", buttons=[{**URL, "url": "https://shop.example.com/{{voucher}}"}]),
]


HEAD = "name: autumn\nsender: main\n"


def context(**other: Any) -> CheckContext:
    templates = other.pop("templates", TEMPLATES)
    return checking.context(templates, **{"base_url": "https://go.example.com", **other})


def found(message: str, given: CheckContext | None = None, head: str = "") -> list[Problem]:
    """The findings about a campaign of this one message; every error among them is a hole."""
    text = HEAD + f"entries: [{{trigger: {{event: x}}}}]\n{head}steps:\n  a:\n    message: {message}\n"
    problems = checking.found(text, given or context())
    assert found_holes(text, given or context()) == [problem for problem in problems if problem.level == "error"]
    return problems


def hole(message: str, given: CheckContext | None = None, head: str = "") -> Problem:
    problem = one(found(message, given, head))
    assert problem.level == "error"
    return problem


# --- free text


@pytest.mark.parametrize(
    "message",
    [
        "{text: Bonjour}",
        '{text: "Bonjour {first_name}, {{100 %}}", variables: {first_name: {user: first_name}}}',
        '{text: "{ a b }", variables: {a b: {text: x}}}',
        f"{{text: {'x' * 4096}}}",
    ],
)
def test_a_good_text_has_no_findings(message: str) -> None:
    assert found(message) == []


@pytest.mark.parametrize(
    ("message", "field", "what", "mend"),
    [
        ('{text: "Bonjour {name}"}', "text", "nothing fills the placeholder {name}", "name: {user: name"),
        (
            '{text: "Bonjour {firstname}", variables: {first_name: {text: x}}}',
            "text",
            "placeholder {firstname}",
            "`first_name`?",
        ),
        ('{text: "Bonjour {name"}', "text", "a { stands alone", "Write {{"),
        ('{text: "Bonjour }"}', "text", "a } stands alone", "Write }}"),
        ('{text: "Bonjour {}"}', "text", "has no name", "Write e.g."),
        (f"{{text: {'x' * 4097}}}", "text", "at least 4,097 characters; Meta takes 4,096", "Shorten"),
        ("{text: x, variables: {a: {text: x}}}", "variables.a", "the text has no placeholder {a}", "remove"),
        ('{text: "{a}", variables: {a: {user: nope}}}', "variables.a.user", "no known contact", "Known:"),
        ('{text: "{a}", variables: {a: {text: x, timezone: Mars}}}', "variables.a.timezone", "time zone", ""),
    ],
)
def test_a_hole_in_a_text_is_found(message: str, field: str, what: str, mend: str) -> None:
    problem = next(problem for problem in found(message) if problem.field == f"steps.a.message.{field}")
    assert problem.level == "error"
    assert what in problem.message
    assert mend in problem.mend


def test_a_text_uses_the_shared_variables_and_one_that_nothing_uses_is_a_warning() -> None:
    shared = "variables: {first_name: {user: first_name}}\n"
    assert found('{text: "Bonjour {first_name}"}', head=shared) == []
    assert one(found("{text: Bonjour}", head=shared)).field == "variables.first_name"


def test_an_audience_that_starts_with_free_text_is_a_warning() -> None:
    text = "name: autumn\nsender: main\nentries: [{audience: {segment: loyal}}]\nsteps:\n  a: {message: {text: x}}\n"
    problem = one(checking.found(text, context()))
    assert (problem.level, problem.field) == ("warning", "steps.a.message.text")


# --- coupons


@pytest.mark.parametrize("name", ["voucher", "copy", "voucher_header", "voucher_url"])
def test_coupons_fill_every_place_for_them(name: str) -> None:
    assert found(f"{{template: {name}, language: fr, coupons: {{pool: autumn, tag: got_one}}}}") == []


def test_coupons_fill_a_counted_link() -> None:
    link = '{Acheter: {link: "https://shop.example.com/?c={voucher}"}}'
    assert found(f"{{template: link, language: fr, buttons: {link}, coupons: {{pool: autumn}}}}") == []
    problem = hole(f"{{template: link, language: fr, buttons: {link}}}")
    assert problem.message == "nothing fills the placeholder {voucher} of the link"


@pytest.mark.parametrize("name", ["voucher", "copy"])
def test_a_place_for_a_code_without_coupons_is_a_hole(name: str) -> None:
    assert "coupons: {pool: autumn}" in hole(f"{{template: {name}, language: fr}}").mend


def test_coupons_without_a_place_for_a_code_are_a_hole() -> None:
    problem = hole("{template: plain, language: fr, coupons: {pool: autumn}}")
    assert problem.field == "steps.a.message.coupons"
    assert "no {{voucher}} and no button that copies a code" in problem.message


def test_a_code_may_be_a_constant_and_not_that_and_coupons() -> None:
    message = "{template: copy, language: fr, buttons: {Copier le code: {text: AUTUMN}}%s}"
    assert found(message % "") == []
    assert "here and by `coupons`" in hole(message % ", coupons: {pool: x}").message
    twice = "{template: voucher, language: fr, variables: {voucher: {text: A}}, coupons: {pool: x}}"
    assert "filled twice" in hole(twice).message
    header = "{template: voucher_header, language: fr, header: {text: A}, coupons: {pool: x}}"
    assert "filled twice" in hole(header).message


@pytest.mark.parametrize(
    ("coupons", "field", "words"),
    [
        ("{pool: autumn.csv}", "pool", "`pool: autumn`"),
        ("{pool: a/b}", "pool", "landing/coupons/"),
        ("{pool: autumn, tag: a|b}", "tag", "another character"),
    ],
)
def test_a_pool_or_tag_that_cannot_be_named_so_is_a_hole(coupons: str, field: str, words: str) -> None:
    problem = hole(f"{{template: voucher, language: fr, coupons: {coupons}}}")
    assert problem.field == f"steps.a.message.coupons.{field}"
    assert words in problem.mend


def test_an_unknown_an_empty_and_a_short_pool_are_warnings() -> None:
    message = "{template: voucher, language: fr, coupons: {pool: autumn}}"
    assert found(message, context(pools=None)) == []
    assert found(message, context(pools={"autumn": 1})) == []
    unknown = one(found(message, context(pools={"automn": 5})))
    assert (unknown.level, unknown.field) == ("warning", "steps.a.message.coupons.pool")
    assert "landing/coupons/autumn.csv" in unknown.mend and "`automn`?" in unknown.mend
    assert "0 free codes" in one(found(message, context(pools={"autumn": 0}))).message
    text = HEAD + f"entries: [{{audience: {{segment: loyal}}}}]\nsteps:\n  a: {{message: {message}}}\n"
    assert checking.found(text, context(pools={"autumn": 9}, people={"loyal": 9})) == []
    short = one(checking.found(text, context(pools={"autumn": 9}, people={"loyal": 10})))
    assert short.message == "the pool `autumn` has 9 free codes for 10 people"


# --- counted links

LINKED = "{template: link, language: fr, buttons: {Acheter: %s}}"


def test_a_counted_link_leads_through_the_gateway() -> None:
    link = '{link: "https://shop.example.com/p/{id}", variables: {id: {user: product_id}}}'
    assert found(LINKED % link) == []
    assert found(LINKED % link, context(base_url="HTTPS://GO.example.com")) == []
    assert "base_url" in hole(LINKED % link, context(base_url=None)).mend
    assert found(LINKED % link, context(base_url=None, senders=None, timezone=None)) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/r/{{1}}",
        "https://go.example.com/{{1}}",
        "https://go.example.com/r/{{1}}/x",
        "https://go.example.com/R/{{1}}",
        "http://go.example.com/r/{{1}}",
        "https://go.example.com/r/?c={{1}}",
    ],
)
def test_a_button_that_leads_elsewhere_is_counted_by_nobody(url: str) -> None:
    elsewhere = template("link", "fr", "Bonjour !", buttons=[{**URL, "url": url}])
    given = context(templates=[elsewhere])
    problem = hole(LINKED % '{link: "https://shop.example.com"}', given)
    assert problem.field == "steps.a.message.buttons.Acheter.link"
    assert url in problem.message
    assert "https://go.example.com/r/{{1}}" in problem.mend


@pytest.mark.parametrize(
    ("link", "field", "words"),
    [
        ("{link: shop.example.com}", "link", "Start it with https://."),
        ('{link: "https://a.b/{"}', "link", "stands alone"),
        ('{link: "https://a.b/{id}"}', "link", "nothing fills the placeholder {id} of the link"),
        ("{link: https://a.b, variables: {id: {text: x}}}", "variables.id", "no placeholder {id}"),
        ('{link: "https://a.b/{id}", variables: {id: {user: nope}}}', "variables.id.user", "no known contact"),
    ],
)
def test_a_hole_in_a_link_is_found(link: str, field: str, words: str) -> None:
    problem = hole(LINKED % link)
    assert problem.field == f"steps.a.message.buttons.Acheter.{field}"
    assert words in f"{problem.message}. {problem.mend}"


def test_only_a_button_with_a_url_takes_a_link() -> None:
    link = "{Copier le code: {link: https://a.b}}"
    assert "is no link" in hole(f"{{template: copy, language: fr, buttons: {link}}}").message


# --- places on the map

PLACE = "{template: place, language: fr, header: {location: {latitude: %s, longitude: %s, name: %s, address: x}}}"


def test_a_place_on_the_map_fills_its_header() -> None:
    assert found(PLACE % ("48.85", "-2.35", "Boutique")) == []
    assert found(PLACE % ("{user: zip}", '"2"', "{user: first_name}")) == []


@pytest.mark.parametrize(
    ("latitude", "longitude", "name", "field"),
    [
        ("91", "2", "x", "latitude"),
        ("north", "2", "x", "latitude"),
        ("48", "-180.5", "x", "longitude"),
        ("48", "{user: nope}", "x", "longitude.user"),
        ("48", "2", "{user: nope}", "name.user"),
    ],
)
def test_a_place_that_is_none_is_a_hole(latitude: str, longitude: str, name: str, field: str) -> None:
    assert hole(PLACE % (latitude, longitude, name)).field == f"steps.a.message.header.location.{field}"


def test_a_place_is_for_templates_that_have_one() -> None:
    assert "header: {location:" in hole("{template: place, language: fr}").mend
    image = "{template: place, language: fr, header: {image: https://a.b/c.jpg}}"
    assert "a header with a place, not with an image" in hole(image).message
    wrong = (PLACE % ("48", "2", "x")).replace("template: place", "template: plain")
    assert hole(wrong).mend == "Remove `header`."
