"""Every parser that meets foreign bytes: nothing raises, nothing vanishes, and what is taken can be kept.

Each parser is fed with spoilt examples of what it is made for. `make test-slow` feeds each with a hundred times more.
"""

import io
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings

from journey.audience import load_segment
from journey.campaign_reading import load_campaign
from journey.contact_rows import ContactRules, read_contacts
from journey.csv_rows import UnreadableCsv, csv_rows
from journey.event_rows import read_json_events, read_table_events
from journey.json_rows import json_object, ndjson_rows
from journey.outcome import decide
from journey.person import Person
from journey.request_rows import read_requests
from journey.shown import show
from journey.start_request import read_start
from journey.template import Template, parse_template
from journey.webhook import parse
from resources.rates import load_rates
from resources.settings import load_settings
from tests.fuzz import seeds
from tests.fuzz.mutating import lines_of, spoilt

ZONE = ZoneInfo("Europe/Paris")
RULES = ContactRules("FR", ZONE)
SOMEBODY = Person(
    frozenset({"u1-of-many"}), frozenset({"+33612345678"}), frozenset({"33600000001"}), frozenset(), "FR",
    frozenset({"items"}),
)  # fmt: skip
AS_IT_CAME = ("raw", "reason", "said")  # what was refused, and why, keeps what it says; ids are derived from the last


def kept(frame: pl.DataFrame) -> None:
    """What is taken ends in Parquet and in SQLite: no text that is no text gets so far."""
    plain = frame.drop([name for name, kind in frame.schema.items() if kind == pl.Object])
    plain.write_parquet(io.BytesIO())
    for column in plain.select(pl.col(pl.String)).iter_columns():
        for text in column.drop_nulls():
            text.encode("utf-8")
            assert "\x00" not in text or column.name in AS_IT_CAME, column.name


def said_lines(data: bytes) -> list[tuple[int, bytes]]:
    """The lines that are not blank: each is taken or refused."""
    return [one for one in lines_of(data) if one[1].removeprefix(b"\xef\xbb\xbf").strip()]


def webhook(data: bytes) -> None:
    parsed = parse(lines_of(data))
    for name in ("statuses", "inbound", "preferences", "identities", "templates", "numbers", "errors", "other", "bad"):
        kept(getattr(parsed, name))
    assert all(line >= 1 for line in parsed.bad["line"])


def contacts(data: bytes) -> None:
    try:
        for rows in csv_rows(io.BytesIO(data)):
            found = read_contacts(rows, RULES)
            kept(found.frame)
            kept(found.bad)
            assert set(rows.line) == set(found.frame["line"]) | (set(rows.line) & set(found.bad["line"]))
    except UnreadableCsv as error:
        assert str(error)


def json_contacts(data: bytes) -> None:
    lines = said_lines(data)
    rows = ndjson_rows(lines)
    found = read_contacts(rows, RULES)
    kept(found.frame)
    kept(found.bad)
    assert {number for number, _ in lines} == set(found.frame["line"]) | set(found.bad["line"]) | set(rows.bad["line"])


def events(data: bytes) -> None:
    lines = said_lines(data)
    found = read_json_events(lines, "FR", ZONE)
    kept(found.frame)
    kept(found.bad)
    assert {number for number, _ in lines} == set(found.frame["line"]) | set(found.bad["line"])


def table_events(data: bytes) -> None:
    try:
        for rows in csv_rows(io.BytesIO(data)):
            found = read_table_events(rows, "FR", ZONE)
            kept(found.frame)
            kept(found.bad)
    except UnreadableCsv as error:
        assert str(error)


def requests(data: bytes) -> None:
    lines = said_lines(data)
    found = read_requests(lines, ["main"])
    for frame in (found.frame, found.answers, found.bad):
        kept(frame)
    taken = set(found.frame["line"]) | set(found.answers["line"])
    assert {number for number, _ in lines} == taken | set(found.bad["line"])
    assert not taken & set(found.bad["line"])


def start(data: bytes) -> None:
    value, problem = json_object(data)
    assert (problem is None) or problem
    if problem is None:
        try:
            read_start(value)
        except ValueError as error:
            assert str(error)


def campaign(data: bytes) -> None:
    found, problems = load_campaign(data.decode("utf-8", "replace"), "campaigns/autumn_offer.yaml")
    assert found is not None or problems
    assert all(one.line >= 0 and one.message for one in problems)


def segment(data: bytes) -> None:
    found, problems = load_segment(data.decode("utf-8", "replace"), "segments/one.yaml")
    assert found is not None or problems


def sql(data: bytes) -> None:
    found, problems = load_segment(data.decode("utf-8", "replace"), "segments/one.sql")
    assert found is not None or problems


def settings_file(data: bytes) -> None:
    found, problems = load_settings(data.decode("utf-8", "replace"))
    assert found is not None or problems


def template(data: bytes) -> None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    try:
        found = parse_template(value)
    except ValueError as error:
        assert str(error)
        return
    assert isinstance(found, Template)
    shows(found, data)


def shows(found: Template, data: bytes) -> None:
    try:
        show(found, data.decode("utf-8", "replace"))
    except ValueError:
        return


def answer(data: bytes) -> None:
    for status in (200, 400, 500, None):
        assert decide(status, data).action


def forgotten(data: bytes) -> None:
    """Whoever is forgotten is looked for in every line that ever came in, read or not."""
    for kind in ("contacts", "events", "requests", "webhooks"):
        for _, raw in lines_of(data):
            left = SOMEBODY.line(kind, raw)
            assert left is None or len(left) <= len(raw)
    SOMEBODY.relabelled(data.decode("utf-8", "replace"), "gone")


PARSERS: list[tuple[Callable[[bytes], None], Sequence[bytes]]] = [
    (webhook, seeds.WEBHOOKS),
    (contacts, seeds.CONTACTS),
    (json_contacts, seeds.CONTACTS_JSON),
    (events, seeds.EVENTS),
    (table_events, seeds.EVENTS_CSV),
    (requests, seeds.REQUESTS),
    (start, seeds.REQUESTS),
    (campaign, seeds.CAMPAIGNS),
    (segment, seeds.SEGMENTS),
    (sql, seeds.SQL),
    (settings_file, seeds.SETTINGS),
    (template, seeds.TEMPLATES),
    (answer, seeds.ANSWERS),
    (forgotten, [*seeds.WEBHOOKS, *seeds.EVENTS, *seeds.REQUESTS, *seeds.CONTACTS_JSON, *seeds.NESTED]),
]
NAMED = [pytest.param(*one, id=one[0].__name__) for one in PARSERS]


@pytest.mark.parametrize(("parser", "examples"), NAMED)
def test_an_unspoilt_example_is_taken(parser: Callable[[bytes], None], examples: Sequence[bytes]) -> None:
    for one in examples:
        parser(one)


@pytest.mark.parametrize(("parser", "examples"), NAMED)
def test_spoilt_bytes_raise_nothing_and_lose_nothing(
    parser: Callable[[bytes], None], examples: Sequence[bytes]
) -> None:
    feed(parser, examples, 40)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("parser", "examples"), NAMED)
def test_many_spoilt_bytes_raise_nothing_and_lose_nothing(
    parser: Callable[[bytes], None], examples: Sequence[bytes]
) -> None:
    feed(parser, examples, 4_000)


def feed(parser: Callable[[bytes], None], examples: Sequence[bytes], times: int) -> None:
    @settings(max_examples=times, derandomize=times < 1_000, database=None)
    @given(spoilt(examples))
    def fed(data: bytes) -> None:
        parser(data)

    fed()


@settings(max_examples=30, derandomize=True, database=None)
@given(spoilt(seeds.RATES))
def test_a_spoilt_rate_card_is_findings(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "rates").mkdir()
    (home / "rates" / "card.csv").write_bytes(data)
    card, problems = load_rates(home)
    assert card.currencies or problems or not data.strip()
