"""docs/what-a-message-says.md: every table is true."""

import json

import polars as pl
import pytest

from journey.dates import Zones
from journey.fill import text_spec_for
from journey.formats import written
from journey.render import render
from journey.steps import TextMessage
from journey.template import Template, parse_template, resolve_language
from journey.text import settled
from journey.variables import Variable
from journey.words import Case
from tests.docs.pages import rows

PAGE = "what-a-message-says.md"
SKIPPED = "skipped: "


def one(row: dict[str, str], case: Case = Case.regular) -> str | None:
    frame = pl.DataFrame({"text": [row["value"] or None]}, schema={"text": pl.String})
    text: str | None = frame.select(settled(pl.col("text"), case, row.get("fallback") or None)).item()
    return text


@pytest.mark.parametrize("row", rows(PAGE, "value", "case", "result"), ids=str)
def test_cases(row: dict[str, str]) -> None:
    assert one(row, Case(row["case"])) == row["result"]


@pytest.mark.parametrize("row", rows(PAGE, "value", "format", "language", "result"), ids=str)
def test_formats(row: dict[str, str]) -> None:
    form = int(row["format"]) if row["format"].isdecimal() else row["format"]
    assert written(pl.Series([row["value"]]), form, row["language"], Zones()).item() == row["result"]


@pytest.mark.parametrize("row", rows(PAGE, "value", "fallback", "result"), ids=str)
def test_fallbacks(row: dict[str, str]) -> None:
    wanted = None if row["result"].startswith(SKIPPED) else row["result"]
    assert one(row) == wanted


@pytest.mark.parametrize("row", rows(PAGE, "wanted", "approved", "fallback", "gets"), ids=str)
def test_languages(row: dict[str, str]) -> None:
    library = {code: template(code) for code in row["approved"].split(", ")}
    found = resolve_language(library, row["wanted"] or None, row["fallback"] or None)
    assert (found.language if found else None) == (None if row["gets"].startswith(SKIPPED) else row["gets"])


@pytest.mark.parametrize("row", rows(PAGE, "text", "first_name", "result"), ids=str)
def test_free_text(row: dict[str, str]) -> None:
    message = TextMessage(text=row["text"], variables={"first_name": Variable("user", "first_name")})
    people = pl.DataFrame({"phone": ["+33600000000"], "user.first_name": [row["first_name"]]})
    body = json.loads(render(text_spec_for(message, {}, "fr"), people)["body"].item())
    assert body["text"]["body"] == row["result"]


def template(language: str) -> Template:
    body = [{"type": "BODY", "text": "Bonjour"}]
    return parse_template({"name": "t", "language": language, "status": "APPROVED", "components": body})
