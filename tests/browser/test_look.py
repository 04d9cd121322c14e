"""What every page is like in a real browser: quiet, readable on a phone and in the dark, in order for who listens."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from gateway.signing_in import SESSION
from tests.browser.conftest import WATCH, Open, Shop, Tab, complain
from tests.browser.shop import EVIL

FACTS = (Path(__file__).parent / "facts.js").read_text(encoding="utf-8")
PAGES = {
    "/": 200,
    "/campaigns/spring": 200,
    "/campaigns/broken": 200,
    "/campaigns/spring/stop": 200,
    "/inbox": 200,
    "/inbox?q=nobody": 200,
    "/inbox/c2": 200,
    "/inbox/c6": 200,
    "/inbox/c7": 200,
    "/inbox/c9?template=ask/fr": 200,
    "/nothing": 404,
    "/inbox/nobody": 404,
}
"""Pages of somebody who is logged in, and with which status they come."""
OUTSIDE = {"/login": 200}
IN_FRENCH = ("/login", "/", "/campaigns/spring", "/campaigns/spring/stop", "/inbox", "/inbox/c7", "/nothing")
WIDTHS = (1280, 360, 320)
"""In CSS pixels; 320 is also what a page of 1280 has when it is shown four times as large."""


@dataclass(frozen=True)
class Seen:
    """A page as it was seen: facts by width and colours, its text, and what the browser complained of."""

    path: str
    language: str
    facts: dict[tuple[int, str], dict[str, Any]]
    text: str
    complaints: list[str]


@pytest.fixture(scope="module")
def seen(shop: Shop) -> Iterator[list[Seen]]:
    """Every page, in both languages, light and dark, wide and narrow."""
    found: list[Seen] = []
    for language in ("en", "fr"):
        context = shop.browser.new_context(locale=language)
        context.add_init_script(WATCH)
        for path, status in {**OUTSIDE, **PAGES}.items():
            if language == "fr" and path not in IN_FRENCH:
                continue
            if path not in OUTSIDE:
                context.add_cookies([{"name": SESSION, "value": shop.sessions["olga"], "url": shop.base}])
            tab = Tab(context.new_page(), shop.base)
            complain(tab)
            page = tab.go(path, status)
            facts = {(WIDTHS[0], "light"): page.evaluate(FACTS, language == "en")}
            for width in WIDTHS[1:]:
                page.set_viewport_size({"width": width, "height": 800})
                facts[width, "light"] = page.evaluate(FACTS, False)
            if language == "en":
                page.emulate_media(color_scheme="dark")
                facts[WIDTHS[-1], "dark"] = page.evaluate(FACTS, True)
            text = page.locator("body").inner_text()
            found.append(Seen(path, language, facts, text, tab.complaints + tab.violations()))
            page.close()
        context.close()
    yield found


def wrong(seen: list[Seen], *names: str) -> list[tuple[str, str, object, object]]:
    """Where a fact that should be nothing is something."""
    return [
        (one.path, one.language, at, facts[name])
        for one in seen
        for at, facts in one.facts.items()
        for name in names
        if facts[name]
    ]


def test_no_browser_complains_of_anything_and_nothing_is_asked_of_anybody_else(seen: list[Seen]) -> None:
    assert [(one.path, one.complaints) for one in seen if one.complaints] == []


def test_markup_that_people_wrote_is_text_wherever_it_stands(seen: list[Seen]) -> None:
    """That nothing of it was run is what the test before says: no dialog, no request."""
    by = {one.path: one.text for one in seen if one.language == "en"}
    assert all(EVIL in by[path] for path in ("/campaigns/spring", "/inbox", "/inbox/c2", "/inbox/c9?template=ask/fr"))
    assert EVIL[:60] in by["/"]


def test_no_page_scrolls_sideways_on_a_phone(seen: list[Seen]) -> None:
    assert wrong(seen, "outside") == []


def test_everything_is_dark_enough_on_light_and_light_enough_on_dark(seen: list[Seen]) -> None:
    assert wrong(seen, "faint") == []


def test_every_field_button_and_picture_has_a_name_and_room_for_a_finger(seen: list[Seen]) -> None:
    assert wrong(seen, "unlabelled", "unnamed", "pictures", "unnamedNavs", "twice", "small") == []


def test_headings_are_in_order_and_the_parts_of_a_page_are_named(seen: list[Seen]) -> None:
    for one in seen:
        facts = one.facts[WIDTHS[0], "light"]
        levels = facts["headings"]
        assert levels[0] == 1 and levels.count(1) == 1, one.path
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels)), one.path
        assert facts["mains"] == 1 and facts["banners"] == 1, one.path


def test_a_page_is_in_the_language_that_it_says(seen: list[Seen]) -> None:
    english = {one.path: one for one in seen if one.language == "en"}
    for one in seen:
        facts = one.facts[WIDTHS[0], "light"]
        assert facts["lang"] == one.language and facts["title"].endswith("Estafette"), one.path
        if one.language == "fr":
            lines = set(one.text.splitlines()) & set(english[one.path].text.splitlines())
            foreign = [line for line in lines if {"the", "of", "is", "and", "to", "not"} & set(line.lower().split())]
            assert [line for line in foreign if EVIL not in line and "templates/" not in line] == [], one.path


@pytest.mark.parametrize("path", ["/campaigns/spring", "/inbox", "/inbox/c2"])
def test_whoever_goes_by_the_keyboard_sees_where_they_are(tab: Open, path: str) -> None:
    page = tab("olga").go(path)
    stops = page.evaluate(
        "[...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex=\"0\"]')]"
        ".filter((one) => one.type !== 'hidden' && one.checkVisibility()).length"
    )
    shown = []
    for _ in range(min(stops, 25)):
        page.keyboard.press("Tab")
        shown.append(
            page.evaluate(
                "(() => { const style = getComputedStyle(document.activeElement);"
                " return [document.activeElement.tagName, style.outlineStyle, parseFloat(style.outlineWidth)] })()"
            )
        )
    assert all(style != "none" and width >= 2 for _, style, width in shown), shown
    assert "BODY" not in [tag for tag, _, _ in shown]


def test_a_journey_is_a_picture_whose_every_way_stands_in_the_table_too(tab: Open) -> None:
    page = tab("vera").go("/campaigns/spring")
    expect(page.get_by_role("img", name="Journey")).to_be_visible()
    drawn = page.locator(".graph .way").count()
    page.locator(".journey summary").click()
    assert drawn == page.locator(".journey details tbody tr").count() > 20
    texts = page.locator(".graph text").evaluate_all(
        "(all) => all.filter((one) => one.getBBox().x + one.getBBox().width > 264).map((one) => one.textContent)"
    )
    assert texts == []  # nothing is written over the edge of a box
