"""The tables for analysts say what the specification says, and say it about every column."""

import polars as pl
import pytest

from journey import schemas
from journey.schemas import TABLES, Column, Table
from journey.words import CouponState, EntryOutcome, LeaveReason, MessageState, ParticipantState, SkipReason

FUNNEL = "entered planned skipped accepted delivered read replied clicked failed unknown"

# Written out once more, from the specification: a column that is renamed or moved must be noticed.
SPEC = {
    "contacts": "contact_id phone wa_id wa_user_id locale timezone tags opted_in opted_in_at opted_out_at opt_out_scope"
    " opt_out_cause",
    "consent_history": "contact_id change scope cause source wamid changed_at",
    "events": "event_id event contact_id occurred_at properties",
    "entries": "campaign entry occurrence contact_id event_id request_uuid outcome detail participant_id met_at",
    "participants": "participant_id campaign version contact_id key entry occurrence attributes entered_at step wake_at"
    " state left_at reason",
    "participant_steps": "participant_id campaign contact_id from_step branch to_step visit moved_at",
    "messages": "message_id participant_id campaign version step visit contact_id phone sender kind template language"
    " category state planned_at attempted_at accepted_at sent_at delivered_at read_at failed_at error_code error_title"
    " wamid body author price currency price_source market",
    "message_events": "wamid message_id status status_at received_at error_code error_title pricing_category"
    " pricing_type",
    "replies": "wamid message_id participant_id campaign step contact_id kind payload text late replied_at",
    "clicks": "message_id participant_id campaign step contact_id button clicked_at",
    "coupons": "pool code expires_at message_id contact_id claimed_at state",
    "skips": "participant_id campaign step visit contact_id reason detail skipped_at",
    "conversations": "contact_id sender last_message_at last_inbound_at window_closes_at messages replies",
    "campaign_funnel": f"campaign {FUNNEL}",
    "step_funnel": f"campaign step {FUNNEL}",
    "campaign_daily": f"campaign day {FUNNEL}",
    "goals": "campaign goal participant_id contact_id arm event_id reached_at value",
    "lift": "campaign goal treated treated_reached control control_reached difference low high",
    "costs": "campaign day market category messages price currency price_source",
    "templates": "name language status category components quality pulled_at",
    "quarantine": "source file line reason raw quarantined_at",
}


def test_the_tables_are_those_of_the_specification() -> None:
    assert set(TABLES) == {*SPEC, "published"}


@pytest.mark.parametrize("name", SPEC)
def test_a_table_has_the_columns_of_the_specification_in_their_order(name: str) -> None:
    assert TABLES[name].names == tuple(SPEC[name].split())


def test_published_counts_every_other_table() -> None:
    assert TABLES["published"].names == ("published_at", *(name for name in TABLES if name != "published"))


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_and_column_has_a_sentence_as_its_comment(table: Table) -> None:
    for comment in (table.comment, *(column.comment for column in table.columns)):
        assert len(comment) > 8
        assert comment.rstrip().endswith((".", "…"))
        assert comment == comment.strip()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_instant_is_a_timestamptz(table: Table) -> None:
    for column in table.columns:
        assert (column.dtype is schemas.TIME) == column.name.endswith("_at"), column.name


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("entries", "outcome", EntryOutcome),
        ("participants", "state", ParticipantState),
        ("participants", "reason", LeaveReason),
        ("messages", "state", MessageState),
        ("skips", "reason", SkipReason),
        ("coupons", "state", CouponState),
    ],
)
def test_a_closed_set_of_words_is_written_out_in_the_comment(table: str, column: str, words: type[str]) -> None:
    [comment] = [one.comment for one in TABLES[table].columns if one.name == column]
    assert all(word in comment for word in words)  # type: ignore[attr-defined]


def test_contacts_get_a_typed_column_for_each_property() -> None:
    table = schemas.with_properties([("first_name", "text"), ("total", "double"), ("last_seen", "timestamptz")])
    assert table.names[: len(schemas.CONTACTS.columns)] == schemas.CONTACTS.names
    assert [(one.name, one.dtype.sql) for one in table.columns[len(schemas.CONTACTS.columns) :]] == [
        ("first_name", "VARCHAR"),
        ("total", "DOUBLE"),
        ("last_seen", "TIMESTAMPTZ"),
    ]
    assert table.schema["last_seen"] == pl.Datetime("us", "UTC")
    assert all(isinstance(one, Column) and one.comment for one in table.columns)


def test_the_specification_of_contacts_is_left_alone_by_properties() -> None:
    schemas.with_properties([("first_name", "text")])
    assert "first_name" not in TABLES["contacts"].names
