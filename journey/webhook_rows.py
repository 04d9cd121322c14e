"""One item of a webhook (a status, a message, …) into one row of its frame.

What belongs here: what a row holds, in the order of the schemas in `webhook_shapes`, and how Meta's times and numbers
are read. Each function raises ValueError with a sentence where the item lacks what its row can't do without.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from journey import webhook_shapes as shapes

Row = tuple[Any, ...]
Where = tuple[int, int | None, str | None, str | None]  # line, received_at in microseconds, waba_id, phone_number_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
NAMELESS = "an empty id, status or value"
_YEAR_10000 = 253_402_300_800
_LIMITS = ("current_limit", "max_daily_conversations_per_business", "max_daily_conversation_per_phone")
ABOUT_TEMPLATES = {
    "message_template_status_update": "status",
    "message_template_quality_update": "quality",
    "template_category_update": "category",
    "message_template_components_update": "components",
}


def inbound(where: Where, message: shapes.Message, contact: shapes.Contact | None) -> Row:
    wa_id, user_id = _bare(message.from_), message.from_user_id or None
    if contact:
        wa_id, user_id = wa_id or _bare(contact.wa_id), user_id or contact.user_id or None
    if wa_id is None and user_id is None:
        raise ValueError("a message from nobody: no `from`, no `wa_id`, no `user_id`")
    kind, payload, text, context = _answer(message)
    media = getattr(message, message.type or "", None) if kind == "media" else None
    return (
        *where,
        named(message.id),
        wa_id,
        _phone(wa_id),
        user_id,
        contact.profile.name if contact and contact.profile else None,
        kind,
        message.type,
        payload,
        text,
        context,
        *((media.id, media.mime_type, media.filename) if media else (None,) * 3),
        *error(message.errors),
        microseconds(message.timestamp),
    )


def _answer(message: shapes.Message) -> tuple[str, str | None, str | None, str | None]:
    """kind, payload, text, the wamid that it speaks of."""
    context = message.context.id if message.context else None
    match message.type:
        case "text":
            return "text", None, message.text.body if message.text else None, context
        case "button":
            button = message.button or shapes.Button()
            return "button", button.payload, button.text, context
        case "interactive":
            interactive = message.interactive or shapes.Interactive()
            if interactive.button_reply:
                return "button", interactive.button_reply.id, interactive.button_reply.title, context
            if interactive.list_reply:
                return "list", interactive.list_reply.id, interactive.list_reply.title, context
            if interactive.nfm_reply:
                return "other", interactive.nfm_reply.response_json, interactive.nfm_reply.body, context
            return "other", None, None, context
        case "reaction":  # an absent or empty emoji takes the reaction back
            reaction = message.reaction or shapes.Reaction()
            return "reaction", None, reaction.emoji or None, reaction.message_id or context
        case "image" | "video" | "audio" | "document" | "sticker" as kind:
            media = getattr(message, kind)
            return "media", None, media.caption if media else None, context
        case _:
            return "other", None, None, context


def identity(where: Where, message: shapes.Message, contact: shapes.Contact | None) -> Row:
    system = message.system or shapes.System()
    wa_id, user_id = _bare(message.from_), system.previous_user_id or message.from_user_id
    if wa_id is None and contact:
        wa_id = _bare(contact.wa_id)
    new = _bare(system.wa_id or system.new_wa_id)
    kind = system.type or "system"
    at = microseconds(message.timestamp)
    old_and_new = (wa_id, _phone(wa_id), user_id, new, _phone(new), system.user_id)
    return (*where, named(message.id), kind, *old_and_new, system.body, at)


def preference(where: Where, preference: shapes.Preference) -> Row:
    wa_id = _bare(preference.wa_id)
    if wa_id is None and not preference.user_id:
        raise ValueError("a preference of nobody: no `wa_id`, no `user_id`")
    return (
        *where,
        wa_id,
        _phone(wa_id),
        preference.user_id,
        preference.category,
        named(preference.value),
        preference.detail,
        microseconds(preference.timestamp),
    )


def user_id_update(where: Where, update: dict[str, object]) -> Row:
    user_id = update.get("user_id")
    change: dict[str, object] = user_id if isinstance(user_id, dict) else {"current": user_id}
    wa_id = _bare(word(update, "wa_id"))
    at = instant(update.get("timestamp"))
    old, new = word(change, "previous"), word(change, "current")
    if new is None:
        raise ValueError("no new user id")
    return (*where, None, "user_id_update", wa_id, _phone(wa_id), old, None, None, new, word(update, "detail"), at)


def template(where: Where, field: str, value: dict[str, object], time: object) -> Row:
    kind = ABOUT_TEMPLATES[field]
    if "new_quality_score" in value:  # Meta's own example has it under the status field
        kind = "quality"
    name = word(value, "message_template_name")
    language = word(value, "message_template_language")
    if name is None:
        raise ValueError("no template name")
    return (
        *where,
        kind,
        word(value, "message_template_id"),
        name,
        language.replace("-", "_") if language else None,
        word(value, "event"),
        word(value, "reason"),
        word(value, "new_category") or word(value, "message_template_category"),
        word(value, "previous_category"),
        word(value, "new_quality_score"),
        word(value, "previous_quality_score"),
        _json({key: value[key] for key in ("other_info", "disable_info", "rejection_info") if value.get(key)} or None),
        instant(time),
    )


def number(where: Where, field: str, value: dict[str, object], time: object) -> Row:
    limit = next(
        (found for key in _LIMITS if (found := word(value, key)) is not None),
        None,
    )
    phone = word(value, "display_phone_number") or word(value, "phone_number")
    return (*where, field, phone, word(value, "event") or word(value, "decision"), limit, _json(value), instant(time))


def error(errors: list[shapes.Error] | None) -> tuple[int | None, str | None, str | None]:
    """code, title, details of the first error; Meta puts the useful text into error_data.details."""
    if not errors:
        return None, None, None
    first = errors[0]
    data = first.error_data
    details = data.get("details") if isinstance(data, dict) else data
    return _code(first.code), first.title or first.message, details if isinstance(details, str) else first.message


def match_contact(
    message: shapes.Message, contacts: list[shapes.Contact], position: int, messages: int
) -> shapes.Contact | None:
    """The entry of `contacts` that speaks of a message's sender: by wa_id, by user id, else by place."""
    for contact in contacts:
        if message.from_ is not None and _bare(contact.wa_id) == _bare(message.from_):
            return contact
        if message.from_user_id is not None and contact.user_id == message.from_user_id:
            return contact
    if len(contacts) == 1 and (messages == 1 or message.from_ is None):
        return contacts[0]
    return contacts[position] if len(contacts) == messages and message.from_ is None else None


def instant(value: object) -> int | None:
    """A time that nothing hangs on (ISO 8601, UTC where it has no offset, or unix seconds); None if it is neither."""
    try:
        if isinstance(value, str) and not value.isdigit():
            moment = datetime.fromisoformat(value)
            return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
        return microseconds(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def word(mapping: dict[str, object], key: str) -> str | None:
    """A text or a number under a key, as text."""
    value = mapping.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def microseconds(seconds: shapes.Seconds) -> int:
    """Unix seconds, as text or number, in microseconds."""
    if isinstance(seconds, str):
        if len(seconds) == 10 and seconds.isascii() and seconds.isdigit():  # as Meta writes it
            return int(seconds) * 1_000_000
        if not (seconds.isascii() and seconds.isdigit()):
            raise ValueError(f"the timestamp {seconds[:40]!r} is not a number of seconds")
        seconds = int(seconds[:20])
    if not 0 <= seconds < _YEAR_10000:
        raise ValueError(f"the timestamp {seconds} is not in seconds since 1970")
    return int(seconds * 1_000_000)


def named(value: str) -> str:
    """A text that names something. ValueError: it is blank."""
    if not value.strip():
        raise ValueError(NAMELESS)
    return value


def _bare(wa_id: str | None) -> str | None:
    """A wa_id is digits without +; some senders of webhooks write one."""
    return wa_id.strip().removeprefix("+") or None if wa_id else None


def _phone(wa_id: str | None) -> str | None:
    return f"+{wa_id}" if wa_id and wa_id.isascii() and wa_id.isdigit() and 5 <= len(wa_id) <= 15 else None


def _code(value: float | str | None) -> int | None:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 10 else None
    return int(value) if value is not None and 0 <= value < 2**31 else None


def typed_series(name: str, dtype: Any, values: Sequence[Any]) -> pl.Series:
    """Values as a column of a type; times come in microseconds."""
    if isinstance(dtype, pl.Datetime):
        return pl.Series(name, values, dtype=pl.Int64).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _json(value: object) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value is not None else None
