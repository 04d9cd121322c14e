"""The tables for analysts: every table and column of `data/analytics.duckdb`, its type, and what it means.

What belongs here: names, types and comments, used by the publisher, the tests and the documentation alike. How rows get
there is `resources.export`, how the file is made `resources.analyst_db`.

Times are TIMESTAMPTZ, instants on the campaign's clock unless the comment says otherwise. A closed set of words is
written out in the comment of its column, from `journey.words`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from journey.properties import DUCKDB, POLARS, PropertyType
from journey.words import (
    CouponState,
    EntryOutcome,
    LeaveReason,
    MessageState,
    ParticipantState,
    Scope,
    SkipReason,
)


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type in the database (`sql`) and in frames (`frame`)."""

    sql: str
    frame: pl.DataType


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    dtype: Type
    comment: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table, its columns in their order."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns of a frame of this table."""
        return {column.name: column.dtype.frame for column in self.columns}


TEXT = Type("VARCHAR", pl.String())
JSON = Type("JSON", pl.String())
TEXTS = Type("VARCHAR[]", pl.List(pl.String()))
BIGINT = Type("BIGINT", pl.Int64())
BOOLEAN = Type("BOOLEAN", pl.Boolean())
MONEY = Type("DECIMAL(18,6)", pl.Decimal(18, 6))
DOUBLE = Type("DOUBLE", pl.Float64())
DATE = Type("DATE", pl.Date())
TIME = Type("TIMESTAMPTZ", pl.Datetime("us", "UTC"))


def _words(words: type[StrEnum]) -> str:
    return ", ".join(words)


def _table(name: str, comment: str, *columns: tuple[str, Type, str]) -> Table:
    return Table(name, comment, tuple(Column(*column) for column in columns))


CONTACTS = _table(
    "contacts",
    "The people known now, one row each. After opt_out_cause comes one typed column for each property.",
    ("contact_id", TEXT, "The contact's id; `whatsapp:` and a phone or Meta's user id where no file gave one. Unique."),
    ("phone", TEXT, "Phone number, E.164 with +; null where only Meta's user id is known."),
    ("wa_id", TEXT, "WhatsApp's id of the phone, as Meta's webhooks gave it; null until the contact wrote."),
    ("wa_user_id", TEXT, "Meta's user id (business-scoped); null until a webhook brought one."),
    ("locale", TEXT, "Language, e.g. fr or fr_FR; null where no file said."),
    ("timezone", TEXT, "IANA time zone, e.g. Europe/Paris; null where no file said (never guessed from the phone)."),
    ("tags", TEXTS, "Tags, sorted, each once; empty or null: none."),
    ("opted_in", BOOLEAN, "Whether the contact agreed to be messaged; the settings' default where nobody said. "
     "Stays true under an opt-out of scope marketing: look at opt_out_scope too."),
    ("opted_in_at", TIME, "When the contact agreed; null where not known."),
    ("opted_out_at", TIME, "When the opt-out in force was given; null: none is in force."),
    ("opt_out_scope", TEXT, f"How far the opt-out in force reaches: {_words(Scope)}; null: none is in force."),
    ("opt_out_cause", TEXT, "What caused the opt-out in force, e.g. file, stop_word, meta_131050; null: none."),
)  # fmt: skip

CONSENT_HISTORY = _table(
    "consent_history",
    "Every change of consent, and every word of a person about it, one row each.",
    ("contact_id", TEXT, "Whose consent changed (`contacts.contact_id` at that time)."),
    ("change", TEXT, "opted_in or opted_out."),
    ("scope", TEXT, f"The scope that came into force or was lifted: {_words(Scope)}."),
    ("cause", TEXT, "What caused it, e.g. file, stop_word, start_word, meta_preference, meta_131050."),
    ("source", TEXT, "The landing file that brought it."),
    ("wamid", TEXT, "Meta's id of the person's own message; null where the change came otherwise."),
    ("changed_at", TIME, "When it took effect."),
)

EVENTS = _table(
    "events",
    "What contacts did, as the landing zone brought it, each event once.",
    ("event_id", TEXT, "The event's id; derived from its content where the file had none. Unique."),
    ("event", TEXT, "The event's name, e.g. purchase."),
    ("contact_id", TEXT, "Who did it; null while nobody has the phone that the event named."),
    ("occurred_at", TIME, "When it happened, as the file says."),
    ("properties", JSON, "The event's properties, a JSON object: properties->>'amount'."),
)

ENTRIES = _table(
    "entries",
    "Everyone met at the entries of campaigns, let in or not, with the outcome.",
    ("campaign", TEXT, "The campaign's name."),
    ("entry", TEXT, "The kind of the entry: audience, trigger, api."),
    ("occurrence", TEXT, "Which firing of the entry: a scheduled time, `run` and its time, an event, a request."),
    ("contact_id", TEXT, "Whom it is about; for unknown_contact the id that was asked for."),
    ("event_id", TEXT, "The event that started it; null but for triggers."),
    ("request_uuid", TEXT, "The request that started it; null but for the API."),
    ("outcome", TEXT, f"What became of it: {_words(EntryOutcome)}."),
    ("detail", TEXT, "More about the outcome; null where there is nothing more to say."),
    ("participant_id", BIGINT, "The passage that began; null where none did."),
    ("met_at", TIME, "When the entry was decided."),
)

PARTICIPANTS = _table(
    "participants",
    "Passages: one row for each time that a contact goes through a campaign.",
    ("participant_id", BIGINT, "The passage's number in this installation. Unique."),
    ("campaign", TEXT, "The campaign's name."),
    ("version", TEXT, "The version of the campaign's file that the passage follows (start of its sha256)."),
    ("contact_id", TEXT, "Who it is (`contacts.contact_id`)."),
    ("key", TEXT, "What tells passages of one contact apart, e.g. an order's number; empty: the contact alone."),
    ("entry", TEXT, "The kind of the entry: audience, trigger, api."),
    ("occurrence", TEXT, "Which firing of the entry: a scheduled time, `run` and its time, an event, a request."),
    ("attributes", JSON, "What the entry brought for variables, a JSON object; null: nothing."),
    ("entered_at", TIME, "When the passage began."),
    ("step", TEXT, "The step where the participant stands; after leaving, the last one."),
    ("wake_at", TIME, "When the participant is looked at next; null: it left, or waits for something from outside."),
    ("state", TEXT, f"{_words(ParticipantState)}: active is about to move, waiting waits, the others have left."),
    ("left_at", TIME, "When the passage was over; null: still inside."),
    ("reason", TEXT, f"Why it was over: {_words(LeaveReason)}; null: still inside."),
)

PARTICIPANT_STEPS = _table(
    "participant_steps",
    "Moves: one row for each time that a participant went from a step to the next, or left from it.",
    ("participant_id", BIGINT, "The passage (`participants.participant_id`)."),
    ("campaign", TEXT, "The campaign's name."),
    ("contact_id", TEXT, "Who it is (`contacts.contact_id`)."),
    ("from_step", TEXT, "The step that was left."),
    ("branch", TEXT, "The way out: next, read, not_read, undelivered, on_skip, on_failure, an answer's key, other, "
     "silence, an arm's name, else, or the number of a branch from 1."),
    ("to_step", TEXT, "The step that was reached; end: the passage was over."),
    ("visit", BIGINT, "The visit of to_step that began: above 1 where a loop led back to it."),
    ("moved_at", TIME, "When the move was made (not when the answer or the status came)."),
)  # fmt: skip

MESSAGES = _table(
    "messages",
    "Messages: one row for each message that was planned, whatever became of it.",
    ("message_id", BIGINT, "The message's number in this installation. Unique."),
    ("participant_id", BIGINT, "The passage (`participants.participant_id`); null: a person sent it from the inbox."),
    ("campaign", TEXT, "The campaign's name; null: a person sent it from the inbox."),
    ("version", TEXT, "The version of the campaign's file by which it was planned; null: sent by hand."),
    ("step", TEXT, "The step that planned it; null: sent by hand."),
    ("visit", BIGINT, "Which visit of the step, from 1; null: sent by hand."),
    ("contact_id", TEXT, "Who gets it."),
    ("phone", TEXT, "Where it goes: E.164 with +, as it was when the message was planned."),
    ("sender", TEXT, "The sender's name in estafette.yaml."),
    ("kind", TEXT, "template or text (free text inside the service window)."),
    ("template", TEXT, "The template's name; null for text."),
    ("language", TEXT, "The language of the template that was chosen; null for text."),
    ("category", TEXT, "The template's category when planned: MARKETING, UTILITY, AUTHENTICATION; null for text."),
    ("state", TEXT, f"Where it is now: {_words(MessageState)}. unknown: nobody can say whether Meta has it."),
    ("planned_at", TIME, "When its body was rendered and it was put in the queue."),
    ("attempted_at", TIME, "When it was last handed to Meta; null: not yet, or never."),
    ("accepted_at", TIME, "When Meta accepted it; null: not accepted (yet)."),
    ("sent_at", TIME, "Meta's time of the status sent, never before the attempt; null: no such status."),
    ("delivered_at", TIME, "Meta's time of the status delivered; null: no such status (a read one may still exist)."),
    ("read_at", TIME, "Meta's time of the status read; null: not read, or the person hides it."),
    ("failed_at", TIME, "When it was refused, or Meta's time of the status failed; null: neither."),
    ("error_code", BIGINT, "Meta's error code; null: none, or it was delivered after all."),
    (
        "error_title",
        TEXT,
        "What the error is called; after a colon Meta's details, where they add to it. null: none.",
    ),
    ("wamid", TEXT, "Meta's id of the message; null until it is known."),
    ("body", JSON, "The request body for the Cloud API as rendered; null where its file was lost."),
    ("author", TEXT, "Who wrote it in the inbox; null: a campaign."),
    ("price", MONEY, "Its price in `currency`; null: not priced."),
    ("currency", TEXT, "ISO 4217 code of the price; null: not priced."),
    ("price_source", TEXT, "estimate (from the rate card) or meta (from Meta's pricing); null: not priced."),
    ("market", TEXT, "Meta's market of the phone, by which it is priced, e.g. France; null: not known."),
)

MESSAGE_EVENTS = _table(
    "message_events",
    "Every status that Meta sent, as it came; the same status may come more than once.",
    ("wamid", TEXT, "Meta's id of the message."),
    ("message_id", BIGINT, "The message (`messages.message_id`); null: none of ours, or not known yet when it came."),
    ("status", TEXT, "Meta's word: sent, delivered, read, failed, and others that Meta may add."),
    ("status_at", TIME, "Meta's own timestamp, whole seconds; unlike the times in `messages` never adjusted."),
    ("received_at", TIME, "When the webhook was received; null where the log does not say."),
    ("error_code", BIGINT, "Meta's error code; null: none."),
    ("error_title", TEXT, "Meta's title of the error; its details stand in `messages.error_title`. null: none."),
    ("pricing_category", TEXT, "What Meta bills it as, e.g. marketing; null: not said."),
    ("pricing_type", TEXT, "How Meta bills it, e.g. regular, free_customer_service; null: not said."),
)

REPLIES = _table(
    "replies",
    "What people wrote, tapped or reacted with, each once.",
    ("wamid", TEXT, "Meta's id of what they wrote. Unique."),
    ("message_id", BIGINT, "The message that it answers (`messages.message_id`); null: none."),
    ("participant_id", BIGINT, "The passage of that message; null: none."),
    ("campaign", TEXT, "The campaign of that message; null: none."),
    ("step", TEXT, "The step of that message; null: none."),
    ("contact_id", TEXT, "Who wrote."),
    ("kind", TEXT, "text, button, list, reaction, media, other. A reaction is no answer."),
    ("payload", TEXT, "The payload of a button or the id of a list's row; null: none."),
    ("text", TEXT, "The text or label, a caption, the emoji of a reaction; null: none (a reaction taken back)."),
    ("late", BOOLEAN, "true: it came after the participant had moved, or after a first answer, and moved no one."),
    ("replied_at", TIME, "When they wrote: Meta's time, never before the message's attempt."),
)

CLICKS = _table(
    "clicks",
    "Taps on counted links, one row each. Only links through the gateway's short codes are counted.",
    ("message_id", BIGINT, "The message whose link was tapped (`messages.message_id`)."),
    ("participant_id", BIGINT, "The passage of that message."),
    ("campaign", TEXT, "The campaign of that message."),
    ("step", TEXT, "The step of that message."),
    ("contact_id", TEXT, "Who got the message; whoever it was passed on to counts as them."),
    ("button", TEXT, "The label of the button that leads to the link."),
    ("clicked_at", TIME, "When it was tapped."),
)

SKIPS = _table(
    "skips",
    "Messages that were not sent, with the reason; those that had been planned are skipped in `messages` too.",
    ("participant_id", BIGINT, "The passage (`participants.participant_id`); null: an answer from the inbox."),
    ("campaign", TEXT, "The campaign's name; null: an answer from the inbox."),
    ("step", TEXT, "The step whose message was skipped; null: an answer from the inbox."),
    ("visit", BIGINT, "Which visit of the step, from 1; null: an answer from the inbox."),
    ("contact_id", TEXT, "Who did not get it."),
    ("reason", TEXT, f"Why: {_words(SkipReason)}."),
    ("detail", TEXT, "Which variable, which URL, …; null: nothing more to say."),
    ("skipped_at", TIME, "When it was decided."),
)

COUPONS = _table(
    "coupons",
    "Coupon codes, one row each.",
    ("pool", TEXT, "The pool: the name of the file that brought it, without .csv."),
    ("code", TEXT, "The code. Unique in its pool."),
    ("expires_at", TIME, "Until when it may be given out; null: for ever."),
    ("message_id", BIGINT, "The one message that has it (`messages.message_id`); null: free."),
    ("contact_id", TEXT, "Whose message that is; null: free."),
    ("claimed_at", TIME, "When that message was planned; null: free."),
    ("state", TEXT, f"{_words(CouponState)}: claimed by a planned message, sent once Meta accepted it."),
)

TEMPLATES = _table(
    "templates",
    "Message templates of the project, one row for each (name, language).",
    ("name", TEXT, "The template's name."),
    ("language", TEXT, "Its language code, e.g. fr."),
    ("status", TEXT, "Meta's word as last pulled, e.g. APPROVED; PAUSED or DISABLED since Meta refused to send it."),
    ("category", TEXT, "MARKETING, UTILITY or AUTHENTICATION, as last pulled."),
    ("components", JSON, "Header, body, footer and buttons as Meta lists them, a JSON array."),
    ("quality", TEXT, "Meta's quality score: GREEN, YELLOW, RED, UNKNOWN; null: Meta did not say."),
    ("pulled_at", TIME, "When its file under templates/ was last written (a Git checkout writes it too), by the wall."),
)

_FUNNEL: tuple[tuple[str, Type, str], ...] = (
    ("planned", BIGINT, "Messages that were planned, also those skipped, cancelled or failed later."),
    ("skipped", BIGINT, "Messages that were not sent for a reason in `skips`, planned before or not."),
    ("accepted", BIGINT, "Messages that Meta accepted, whatever came after."),
    ("delivered", BIGINT, "Messages that were delivered; a read one counts as delivered."),
    ("read", BIGINT, "Messages that were read (people may hide it)."),
    ("replied", BIGINT, "People (contacts) with an answer that was not late; reactions are no answers."),
    ("clicked", BIGINT, "People who tapped on a counted link; 0 without counted links."),
    ("failed", BIGINT, "Messages that Meta refused or could not deliver."),
    ("unknown", BIGINT, "Messages of which nobody can say whether Meta has them."),
)

CAMPAIGN_FUNNEL = _table(
    "campaign_funnel",
    "One row for each campaign that anyone entered. Cumulative: read implies delivered implies accepted.",
    ("campaign", TEXT, "The campaign's name."),
    ("entered", BIGINT, "Passages that began (a contact may have several); the control group is not counted."),
    *_FUNNEL,
)

STEP_FUNNEL = _table(
    "step_funnel",
    "One row for each campaign and step that anyone reached. Cumulative: read implies delivered implies accepted.",
    ("campaign", TEXT, "The campaign's name."),
    ("step", TEXT, "The step's name."),
    ("entered", BIGINT, "Arrivals at the step; a second visit counts again, the control group does not."),
    *_FUNNEL,
)

CAMPAIGN_DAILY = _table(
    "campaign_daily",
    "One row for each campaign and day on which something happened; each thing counts on the day on which it happened.",
    ("campaign", TEXT, "The campaign's name."),
    ("day", DATE, "The date in the time zone of estafette.yaml (`timezone`)."),
    ("entered", BIGINT, "Passages that began that day; the control group is not counted."),
    *_FUNNEL,
)

CONVERSATIONS = _table(
    "conversations",
    "One row for each contact and sender between whom anything was said.",
    ("contact_id", TEXT, "With whom."),
    (
        "sender",
        TEXT,
        "The sender's name in estafette.yaml; its phone_number_id where the settings have no such sender.",
    ),
    ("last_message_at", TIME, "When Meta accepted the newest message to the contact; null: none yet."),
    ("last_inbound_at", TIME, "When the contact wrote last; null: never."),
    ("window_closes_at", TIME, "The end of the customer service window: 24 h after last_inbound_at; null: never open."),
    ("messages", BIGINT, "Messages to the contact that Meta accepted."),
    ("replies", BIGINT, "Messages from the contact, reactions included."),
)

GOALS = _table(
    "goals",
    "Goals that passages reached, each goal once a passage, by the earliest event that was known.",
    ("campaign", TEXT, "The campaign's name."),
    ("goal", TEXT, "The goal: its event's name, with a number from the second goal on the same event on."),
    ("participant_id", BIGINT, "The passage (`participants.participant_id`)."),
    ("contact_id", TEXT, "Who reached it."),
    ("arm", TEXT, "treated, or control for a passage of the control group."),
    ("event_id", TEXT, "The event that counts (`events.event_id`)."),
    ("reached_at", TIME, "When that event occurred."),
    ("value", DOUBLE, "The number in the event's property value, else amount; null: it has none."),
)

LIFT = _table(
    "lift",
    "What a campaign adds to each of its goals: people treated against its control group. One row for each campaign "
    "with goals that anyone entered and each goal, also where nobody has reached it. People are counted, not passages: "
    "they are what the control group is drawn from. Young campaigns: windows may still be open.",
    ("campaign", TEXT, "The campaign's name."),
    ("goal", TEXT, "The goal (`goals.goal`)."),
    ("treated", BIGINT, "People who entered and were treated."),
    ("treated_reached", BIGINT, "Those of them who reached the goal."),
    ("control", BIGINT, "People drawn into the control group, never messaged; 0 without one."),
    ("control_reached", BIGINT, "Those of them who reached the goal."),
    ("difference", DOUBLE, "Rate of the treated less rate of the control, 0.02 being 2 points; null: an empty arm."),
    ("low", DOUBLE, "Low end of the difference's 95 % interval (Newcombe's hybrid of two Wilson score intervals, "
     "without continuity correction); null: an empty arm."),
    ("high", DOUBLE, "High end of that interval. Where low and high have one sign, chance is an unlikely cause; "
     "null: an empty arm."),
)  # fmt: skip

COSTS = _table(
    "costs",
    "What accepted messages cost: one row for each campaign, day, market, category, currency and source of the price.",
    ("campaign", TEXT, "The campaign's name; null: what people sent from the inbox."),
    ("day", DATE, "The date of acceptance in the time zone of estafette.yaml (`timezone`)."),
    ("market", TEXT, "Meta's market of the phones, e.g. France; null: not known."),
    ("category", TEXT, "The templates' category: MARKETING, UTILITY, AUTHENTICATION; null: free text."),
    ("messages", BIGINT, "Messages that Meta accepted, whatever came after."),
    ("price", MONEY, "Their prices, summed, in `currency`; null: these messages are not priced."),
    ("currency", TEXT, "ISO 4217 code of the price; null: not priced."),
    ("price_source", TEXT, "estimate (from the rate card) or meta (from Meta's pricing); null: not priced."),
)

QUARANTINE = _table(
    "quarantine",
    "What could not be read, with the reason.",
    ("source", TEXT, "Of what kind: contacts, events, requests, webhooks, …"),
    ("file", TEXT, "The file, under landing/."),
    ("line", BIGINT, "The line, from 1 (a CSV file's header is line 1)."),
    ("reason", TEXT, "Why it could not be read."),
    ("raw", TEXT, "The text itself, cut where it is very long."),
    ("quarantined_at", TIME, "When it was put aside."),
)

_COUNTED = (
    CONTACTS, CONSENT_HISTORY, EVENTS, ENTRIES, PARTICIPANTS, PARTICIPANT_STEPS, MESSAGES, MESSAGE_EVENTS, REPLIES,
    CLICKS, SKIPS, COUPONS, CONVERSATIONS, CAMPAIGN_FUNNEL, STEP_FUNNEL, CAMPAIGN_DAILY, GOALS, LIFT, COSTS, TEMPLATES,
    QUARANTINE,
)  # fmt: skip

PUBLISHED = _table(
    "published",
    "One row: which moment this database shows, and how many rows each table has.",
    ("published_at", TIME, "When this cut was taken; all tables show the same moment."),
    *((table.name, BIGINT, f"Rows of the table {table.name}.") for table in _COUNTED),
)

TABLES: dict[str, Table] = {table.name: table for table in (*_COUNTED, PUBLISHED)}
"""Every table, in the order of the specification."""


def with_properties(properties: Iterable[tuple[str, PropertyType]]) -> Table:
    """The table of contacts with a typed column for each property (name, type), in their order."""
    columns = tuple(
        Column(
            name,
            Type(DUCKDB[kind], POLARS[kind]),
            f"The property `{name}`, from contact files; null: not known." + _HINTS.get(kind, ""),
        )
        for name, kind in properties
    )
    return Table(CONTACTS.name, CONTACTS.comment, CONTACTS.columns + columns)


_HINTS: dict[PropertyType, str] = {"timestamptz": " Written without a zone, it is in the settings' timezone."}
