"""Rendering in columns equals a plain Python reference, person by person, over random Unicode and types.

The reference knows nothing of Polars: it takes one person's values, applies the rules of the text with `str` methods,
and writes the body with `json.dumps`.
"""

import json
import re
import string
from datetime import date
from typing import Any
from urllib.parse import quote

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.render import MessageSpec, render, show
from journey.template import parse_template
from journey.variables import Variable
from journey.words import Case

BREAKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
INVISIBLE = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202d\u202e\u2060\u2066\u2069\ufeff"
LEGAL = string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;="

TEMPLATE = parse_template(
    {
        "name": "offer",
        "language": "fr",
        "status": "APPROVED",
        "category": "MARKETING",
        "components": [
            {"type": "HEADER", "format": "IMAGE"},
            {"type": "BODY", "text": 'Bonjour {{b}} "{{a}}"\n{{c}} et {{b}}.'},
            {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Voir", "url": "https://x.example/{{1}}"}]},
        ],
    }
)


def single_spaced(text: str) -> str:
    spaced, run = "", ""
    for character in text + "\0":
        if character.isspace():
            run += character
            continue
        if run:
            spaced += run if len(run) == 1 and run not in BREAKS else " "
        run = ""
        spaced += character
    return spaced[:-1]


def cased(text: str, case: Case) -> str:
    if case is Case.UPPERCASE:
        return text.upper()
    if case is Case.lowercase:
        return text.lower()
    if case is Case.regular:
        return text
    written, words = "", 0
    for place, character in enumerate(text):
        starts = not character.isspace() and (place == 0 or text[place - 1].isspace())
        words += starts
        written += character.upper() if starts and (words == 1 or case is Case.CapitalizeAllFirst) else character
    return written


def blank(text: str) -> bool:
    return all(one.isspace() or one in INVISIBLE for one in text)


def plain(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def expected_text(value: Any, variable: Variable) -> str | None:
    text = plain(value)
    if text is not None:
        text = cased(single_spaced(text), variable.case)
        if not blank(text):
            return text
    return None if variable.fallback is None or blank(variable.fallback) else variable.fallback


def encoded(text: str) -> str:
    pieces = re.split("(%[0-9A-Fa-f]{2})", text)
    return "".join(piece if place % 2 else quote(piece, safe=LEGAL) for place, piece in enumerate(pieces))


def expected(spec: MessageSpec, person: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The body, or the reason for which there is none."""

    def fill(variable: Variable) -> str | None:
        value = variable.name if variable.source == "text" else person[f"{variable.source}.{variable.name}"]
        return expected_text(value, variable)

    assert spec.header is not None
    image, button = fill(spec.header), fill(spec.buttons[0])
    texts = {name: fill(variable) for name, variable in spec.body.items()}
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", person["phone"] or ""):
        return None, "invalid_phone"
    if button is None or None in texts.values():
        return None, "missing_variable"
    if image is None or not re.match("https?://.", image.strip(), re.IGNORECASE):
        return None, "missing_media"
    body = TEMPLATE.body
    for name, text in texts.items():
        body = body.replace(f"{{{{{name}}}}}", "x" * len(text or ""))
    if len(body) > 1024 or len("https://x.example/" + encoded(button)) > 2000:
        return None, "too_long"
    parameters = [{"type": "text", "parameter_name": name, "text": texts[name]} for name in ("b", "a", "c")]
    sent = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": person["phone"],
        "type": "template",
        "template": {
            "name": "offer",
            "language": {"code": "fr"},
            "components": [
                {"type": "header", "parameters": [{"type": "image", "image": {"link": encoded(image.strip())}}]},
                {"type": "body", "parameters": parameters},
                {
                    "type": "button",
                    "sub_type": "url",
                    "index": "0",
                    "parameters": [{"type": "text", "text": encoded(button)}],
                },
            ],
        },
    }
    return json.loads(json.dumps(sent)), None


# Characters that Python's Unicode tables do not know yet may have an upper case in Polars' newer ones.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"]) | st.sampled_from(
    list("\"\\/{}%&<>' \t\n\r\0\x1b\x7f\x85\xa0éßıİΣς") + list(INVISIBLE + BREAKS + "\u0301\u0345\u202e\u2066\u3000ﬁǆ")
)
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=12),
    st.sampled_from(
        [
            "jean dupont",
            "o'neil",
            "e\u0301lodie",
            "l’été à paris",
            "مرحبا بك",
            "👩‍🚀 léa",
            "ΟΔΥΣΣΕΥΣ",
            '"\\u0041\\"',
            "a%20b",
            "100 %",
        ]
    ),
    st.builds(lambda text, times: text * times, st.text(CHARACTERS, min_size=1, max_size=3), st.integers(200, 600)),
)
FLOATS = st.floats(-1e15, 1e15, allow_nan=False).filter(lambda one: one == 0 or abs(one) > 1e-4)
COLUMNS: list[tuple[st.SearchStrategy[Any], Any]] = [
    (TEXTS, pl.String),
    (st.integers(-(2**63), 2**63 - 1), pl.Int64),
    (FLOATS, pl.Float64),
    (st.booleans(), pl.Boolean),
    (st.dates(date(1000, 1, 1)), pl.Date),
    (st.one_of(TEXTS, st.integers(), FLOATS, st.booleans(), st.dates()), pl.Object),
]
ADDRESSES = st.one_of(
    TEXTS, st.builds("https://x.example/{}".format, TEXTS), st.sampled_from([" HTTPS://x/é b ", "ftp://x", "https://"])
)
PHONES = st.sampled_from(["+33612345678"] * 8 + ["+14155550123", "0612345678", "+33 6", "", None])


@st.composite
def frames(draw: st.DrawFn) -> tuple[MessageSpec, list[dict[str, Any]], pl.DataFrame]:
    rows = draw(st.integers(1, 12))
    columns: dict[str, list[Any]] = {}
    series = []
    for name in ("user.a", "event.b.c", "user.image", "event.id"):
        values, dtype = (ADDRESSES, pl.String) if name == "user.image" else draw(st.sampled_from(COLUMNS))
        few = draw(st.lists(st.none() | values, min_size=1, max_size=rows))  # repeats, for the way by distinct values
        columns[name] = draw(st.lists(st.sampled_from(few), min_size=rows, max_size=rows))
        series.append(pl.Series(name, columns[name], dtype))
    columns["phone"] = draw(st.lists(PHONES, min_size=rows, max_size=rows))
    series.append(pl.Series("phone", columns["phone"], pl.String))

    def variable(source: Any, name: str) -> Variable:
        return Variable(source, name, draw(st.sampled_from(Case)), fallback=draw(st.none() | TEXTS))

    spec = MessageSpec(
        TEMPLATE,
        "image",
        Variable("user", "image", fallback=draw(st.sampled_from([None, "https://x.example/é.jpg"]))),
        None,
        {"b": variable("event", "b.c"), "a": variable("user", "a"), "c": variable("text", draw(TEXTS))},
        {0: variable("event", "id")},
    )
    return spec, [{name: columns[name][row] for name in columns} for row in range(rows)], pl.DataFrame(series)


@settings(max_examples=300, deadline=None)
@given(frames())
def test_columns_give_what_plain_python_gives(made: tuple[MessageSpec, list[dict[str, Any]], pl.DataFrame]) -> None:
    spec, persons, frame = made

    rendered = render(spec, frame)

    for person, (body, reason) in zip(persons, rendered.select("body", "skip_reason").iter_rows(), strict=True):
        assert (json.loads(body) if body is not None else None, reason) == expected(spec, person)
        if body is not None:
            assert body.endswith("}")
            assert len(show(TEMPLATE, body).body) <= 1024


def test_one_null_leaves_the_other_bodies_as_they_are() -> None:
    values = [None if number % 3 == 0 else f"nom {number % 7}" for number in range(1000)]
    spec = MessageSpec(
        TEMPLATE,
        "image",
        Variable("text", "https://x.example/a.jpg"),
        None,
        {name: Variable("user", "a", Case.CapitalizeAllFirst) for name in "bac"},
        {0: Variable("user", "a")},
    )
    frame = pl.DataFrame({"phone": ["+33612345678"] * 1000, "user.a": values})

    rendered = render(spec, frame)

    assert rendered["skip_reason"].to_list() == ["missing_variable" if one is None else None for one in values]
    assert [body is None for body in rendered["body"]] == [one is None for one in values]
