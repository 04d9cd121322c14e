"""Statuses of a webhook log into their frame, by the column.

What belongs here: the columns. Statuses are nearly all of a log: three a message. Each is read as it is and checked
once; what of it goes where is done for all of them together, which takes a third of the time of a row each.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from journey import webhook_shapes as shapes
from journey.webhook_rows import Where, error, named, typed_series
from journey.webhook_rows import microseconds as seconds_in_microseconds

Told = tuple[Where, int, shapes.Status]
"""Where a status stood, its time in microseconds, and itself."""

_NO_ERROR = (None, None, None)
_NO_PRICING, _NO_CONVERSATION, _NO_ORIGIN = shapes.Pricing(), shapes.Conversation(), shapes.Origin()


def told(where: Where, status: shapes.Status) -> Told:
    """A status that can be used. ValueError: it names nothing, or its time is none."""
    named(status.id)
    named(status.status)
    return where, seconds_in_microseconds(status.timestamp), status


def statuses_frame(found: Sequence[Told]) -> pl.DataFrame:
    """Statuses (`webhook_shapes.STATUSES`), in their order."""
    wheres, times, statuses = zip(*found, strict=True) if found else ((), (), ())
    lines, received, wabas, numbers = zip(*wheres, strict=True) if wheres else ((), (), (), ())
    errors = [error(one.errors) if one.errors else _NO_ERROR for one in statuses]
    pricing = [one.pricing or _NO_PRICING for one in statuses]
    conversations = [one.conversation or _NO_CONVERSATION for one in statuses]
    columns: dict[str, Sequence[Any]] = {
        "line": lines,
        "received_at": received,
        "waba_id": wabas,
        "phone_number_id": numbers,
        "wamid": [one.id for one in statuses],
        "status": [one.status for one in statuses],
        "status_at": times,
        "recipient_id": [one.recipient_id for one in statuses],
        "phone": (),
        "recipient_user_id": [one.recipient_user_id for one in statuses],
        "callback": [one.biz_opaque_callback_data for one in statuses],
        "error_code": [code for code, _, _ in errors],
        "error_title": [title for _, title, _ in errors],
        "error_details": [details for _, _, details in errors],
        "pricing_category": [one.category for one in pricing],
        "pricing_type": [one.type for one in pricing],
        "pricing_model": [one.pricing_model for one in pricing],
        "billable": [one.billable for one in pricing],
        "conversation_id": [one.id for one in conversations],
        "conversation_origin": [(one.origin or _NO_ORIGIN).type for one in conversations],
    }
    frame = pl.DataFrame(
        [typed_series(name, kind, columns[name]) for name, kind in shapes.STATUSES.items() if name != "phone"]
    )
    # A wa_id is digits without +; some senders of webhooks write one.
    bare = pl.col("recipient_id").str.strip_chars().str.strip_prefix("+")
    recipient = pl.when(bare != "").then(bare)
    phone = pl.when(recipient.str.contains("^[0-9]{5,15}$")).then(pl.lit("+") + recipient)
    return frame.with_columns(recipient_id=recipient, phone=phone).select(list(shapes.STATUSES))
