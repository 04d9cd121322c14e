"""Free text, counted links, locations and coupon codes in columns equal a plain Python reference, person by person."""

import json
import re
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.braces import cut
from journey.marks import VOUCHER, VOUCHER_IN_URL, fill_marks, link_mark
from journey.message_spec import CountedLink, Voucher
from journey.render import MessageSpec, TextSpec, render, show
from journey.steps import Location
from journey.template import parse_template
from journey.variables import Variable
from journey.words import Case
from tests.journey.test_render_reference import (
    CHARACTERS,
    COLUMNS,
    PHONES,
    TEXTS,
    blank,
    cased,
    encoded,
    expected_text,
    plain,
)

MARKS = st.sampled_from([VOUCHER, VOUCHER_IN_URL, link_mark(0), "\x01", "\x02", "\0text0\0", "{a}", "{{voucher}}"])
VALUES = st.one_of(TEXTS, MARKS, st.builds("{}{}".format, MARKS, TEXTS))
CODES = st.text(CHARACTERS, min_size=1, max_size=20) | st.sampled_from(["AUT-7F3K", 'A "1\\', "20 %", "é"])


def skipped(phone: str | None) -> bool:
    return re.fullmatch(r"\+[1-9][0-9]{6,14}", phone or "") is None


@st.composite
def frames(draw: st.DrawFn, *names: str) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    rows = draw(st.integers(1, 12))
    columns: dict[str, list[Any]] = {}
    series = []
    for name in names:
        values, dtype = draw(st.sampled_from([(VALUES, pl.String), *COLUMNS]))
        few = draw(st.lists(st.none() | values, min_size=1, max_size=rows))
        columns[name] = draw(st.lists(st.sampled_from(few), min_size=rows, max_size=rows))
        series.append(pl.Series(name, columns[name], dtype))
    columns["phone"] = draw(st.lists(PHONES, min_size=rows, max_size=rows))
    series.append(pl.Series("phone", columns["phone"], pl.String))
    return [{name: columns[name][row] for name in columns} for row in range(rows)], pl.DataFrame(series)


def variables(*names: str) -> st.SearchStrategy[Any]:
    def one(source: Any, name: str, text: str, case: Case, fallback: str | None) -> Variable:
        return Variable(source, text if source == "text" else name, case, fallback=fallback)

    sources = st.sampled_from([("user", "a"), ("event", "b.c"), ("text", "")])
    made = st.builds(
        lambda source, *more: one(*source, *more), sources, VALUES, st.sampled_from(Case), st.none() | VALUES
    )
    return st.fixed_dictionaries(dict.fromkeys(names, made))


def value_of(variable: Variable, person: dict[str, Any]) -> Any:
    return variable.name if variable.source == "text" else person[f"{variable.source}.{variable.name}"]


def free(variable: Variable, person: dict[str, Any]) -> str | None:
    """A value in free text: as in a template, with its spaces and lines as they are."""
    text = plain(value_of(variable, person))
    text = cased(text, variable.case) if text is not None else None
    if text is None or blank(text):
        return None if variable.fallback is None or blank(variable.fallback) else variable.fallback
    return text


FREE = st.sampled_from(
    ["{a}", "Voici {{a}} :\n«{b}{a}» {c}", "{c}\n\n{b} https://x.example/{a}", '"{a}\\n" {b}}}', "x" * 4000 + "{a}"]
)


@settings(max_examples=200, deadline=None)
@given(FREE, variables("a", "b", "c"), frames("user.a", "event.b.c"))
def test_free_text_is_what_plain_python_gives(
    text: str, filled: dict[str, Variable], made: tuple[list[dict[str, Any]], pl.DataFrame]
) -> None:
    persons, frame = made
    pieces = cut(text)

    rendered = render(TextSpec(text, {name: filled[name] for name in dict.fromkeys(pieces[1::2])}, "fr"), frame)

    for person, (body, reason) in zip(persons, rendered.select("body", "skip_reason").iter_rows(), strict=True):
        values = [free(filled[name], person) for name in pieces[1::2]]
        said = "".join(piece if place % 2 == 0 else values[place // 2] or "" for place, piece in enumerate(pieces))
        if skipped(person["phone"]):
            assert (body, reason) == (None, "invalid_phone")
        elif None in values:
            assert (body, reason) == (None, "missing_variable")
        elif len(said) > 4096:
            assert (body, reason) == (None, "too_long")
        else:
            sent = json.loads(body)
            assert sent["text"] == {"preview_url": bool(re.search("(?i)https?://", said)), "body": said}
            assert (sent["to"], sent["type"]) == (person["phone"], "text")
            assert show(None, body).body == said


GIFT = parse_template(
    {
        "name": "gift",
        "language": "fr",
        "status": "APPROVED",
        "category": "MARKETING",
        "components": [
            {"type": "HEADER", "format": "LOCATION"},
            {"type": "BODY", "text": "{{a}} : {{voucher}}, {{voucher}} !"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {"type": "URL", "text": "Voir", "url": "https://go.example/r/{{1}}"},
                    {"type": "COPY_CODE", "text": "Copier"},
                    {"type": "URL", "text": "Payer", "url": "https://x.example/{{voucher}}"},
                ],
            },
        ],
    }
)
ADDRESSES = st.sampled_from(
    ["https://x.example/{b}", "https://x.example/é {{?v={voucher}&b={b}{c}", "{b}{c}", "HTTP://x/{c}#%41%"]
)


def coordinate(text: str | None, most: int) -> bool:
    return (
        text is not None and re.fullmatch(r"[+-]?[0-9]{1,3}(\.[0-9]+)?", text) is not None and abs(float(text)) <= most
    )


@settings(max_examples=200, deadline=None)
@given(
    ADDRESSES,
    variables("a", "b", "c", "name", "address"),
    frames("user.a", "event.b.c", "user.lat"),
    st.lists(CODES, min_size=12, max_size=12),
    st.sampled_from(["48.85", "-90", "91", "1e1", "nord", ""]),
)
def test_locations_codes_and_links_are_what_plain_python_gives(
    address: str,
    filled: dict[str, Variable],
    made: tuple[list[dict[str, Any]], pl.DataFrame],
    codes: list[str],
    longitude: str,
) -> None:
    persons, frame = made
    place = Location(
        latitude=Variable("user", "lat", fallback="0"),
        longitude=Variable("text", longitude),
        name=filled["name"],
        address=filled["address"],
    )
    pieces = cut(address)
    of_link = {name: Voucher() if name == "voucher" else filled[name] for name in dict.fromkeys(pieces[1::2])}
    spec = MessageSpec(
        GIFT,
        "location",
        body={"a": filled["a"], "voucher": Voucher()},
        buttons={0: CountedLink(address, of_link), 1: Voucher(), 2: Voucher()},
        location=place,
    )

    rendered = render(spec, frame)

    vouchers = pl.Series(codes[: len(persons)])
    links = pl.Series([f"k{number}" for number in range(len(persons))])
    bodies = fill_marks(rendered["body"], vouchers, {0: links})
    leads = fill_marks(rendered["link.0"], vouchers)
    for row, person in enumerate(persons):
        reason, voucher = rendered["skip_reason"][row], codes[row]
        values = {name: expected_text(value_of(one, person), one) for name, one in filled.items()}
        latitude = expected_text(person["user.lat"], place.latitude)
        latitude = latitude.strip() if latitude is not None else None
        link = "".join(
            encoded(piece.strip())
            if number % 2 == 0
            else encoded(voucher if piece == "voucher" else values[piece] or "")
            for number, piece in enumerate(pieces)
        )
        web = re.match("https?://.", link, re.IGNORECASE)
        if skipped(person["phone"]):
            expected = "invalid_phone"
        elif None in (values["a"], *(values[name] for name in of_link if name != "voucher")) or not web:
            expected = "missing_variable"
        elif None in (values["name"], values["address"]) or not (
            coordinate(latitude, 90) and coordinate(longitude, 180)
        ):
            expected = "missing_media"
        elif len(f"{values['a']} : , !") + 40 > 1024:
            expected = "too_long"
        else:
            expected = None
        assert reason == expected
        assert (bodies[row] is None, leads[row] is None) == (reason is not None, reason is not None)
        if reason is None:
            sent = json.loads(bodies[row])["template"]["components"]
            assert sent[0]["parameters"][0]["location"] == {
                "latitude": latitude, "longitude": longitude, "name": values["name"], "address": values["address"]
            }  # fmt: skip
            texts = [one["text"] for one in sent[1]["parameters"]]
            assert texts == [values["a"], voucher]
            assert sent[2]["parameters"] == [{"type": "text", "text": f"k{row}"}]
            assert sent[3]["parameters"] == [{"type": "coupon_code", "coupon_code": voucher}]
            assert sent[4]["parameters"] == [{"type": "text", "text": encoded(voucher)}]
            assert leads[row] == link
