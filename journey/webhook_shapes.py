"""Meta's webhook bodies as types, and the columns that `webhook.parse` makes of them.

What belongs here: shapes on both sides of the parser. What is optional at Meta is optional here; unknown fields are let
through; one type is wide where Meta's own pages and fixtures differ (timestamps come as text and as numbers).
Source: Meta's webhook reference (September 2026) and its OpenAPI description, v23.0.
"""

import msgspec
import polars as pl

WABA = "whatsapp_business_account"

Seconds = str | int | float  # unix seconds, UTC


class _Wire(msgspec.Struct, gc=False):  # bodies hold no cycles, and the collector costs a tenth of the parsing
    """One object of Meta's."""


class Error(_Wire):
    code: int | float | str | None = None
    title: str | None = None
    message: str | None = None
    error_data: dict[str, object] | str | None = None


class Pricing(_Wire):
    type: str | None = None
    category: str | None = None


class Status(_Wire):
    id: str
    status: str
    timestamp: Seconds
    biz_opaque_callback_data: str | None = None
    pricing: Pricing | None = None
    errors: list[Error] | None = None


class Context(_Wire):
    id: str | None = None


class Text(_Wire):
    body: str | None = None


class Button(_Wire):
    payload: str | None = None
    text: str | None = None


class Reply(_Wire):
    id: str | None = None
    title: str | None = None


class Form(_Wire):
    body: str | None = None
    response_json: str | None = None


class Interactive(_Wire):
    type: str | None = None
    button_reply: Reply | None = None
    list_reply: Reply | None = None
    nfm_reply: Form | None = None


class Reaction(_Wire):
    message_id: str | None = None
    emoji: str | None = None


class Media(_Wire):
    id: str | None = None
    mime_type: str | None = None
    caption: str | None = None
    filename: str | None = None


class System(_Wire):
    type: str | None = None
    body: str | None = None
    wa_id: str | None = None  # the new one
    new_wa_id: str | None = None  # its name in older versions
    user_id: str | None = None
    previous_user_id: str | None = None


class Message(_Wire):
    id: str
    timestamp: Seconds
    type: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    from_user_id: str | None = None
    context: Context | None = None
    text: Text | None = None
    button: Button | None = None
    interactive: Interactive | None = None
    reaction: Reaction | None = None
    image: Media | None = None
    video: Media | None = None
    audio: Media | None = None
    document: Media | None = None
    sticker: Media | None = None
    system: System | None = None
    errors: list[Error] | None = None


class Profile(_Wire):
    name: str | None = None


class Contact(_Wire):
    wa_id: str | None = None
    user_id: str | None = None
    profile: Profile | None = None


class Preference(_Wire):
    value: str
    timestamp: Seconds
    wa_id: str | None = None
    user_id: str | None = None
    category: str | None = None
    detail: str | None = None


class Metadata(_Wire):
    phone_number_id: str | None = None


class Value(_Wire):
    metadata: Metadata | None = None
    contacts: list[Contact] | None = None
    messages: list[Message] | None = None
    statuses: list[Status] | None = None
    errors: list[Error] | None = None


class Change(_Wire):
    field: str
    value: Value


class Entry(_Wire):
    id: str | None = None
    changes: list[Change] = []


class Delivery(_Wire):
    """One line: a body of Meta's, or the gateway's envelope around the text of one."""

    object: str | None = None
    entry: list[Entry] | None = None
    received_at: str | int | float | None = None
    body: str | None = None


# Columns of the frames. Times are Datetime("us", "UTC"); `line` is the number that came in with the line; `received_at`
# is null where the line had no envelope; `phone` is the wa_id with +, null where it is no number.
_TIME = pl.Datetime("us", "UTC")
Schema = dict[str, pl.DataType]
_LINE: Schema = {"line": pl.Int64(), "received_at": _TIME, "waba_id": pl.String(), "phone_number_id": pl.String()}
_ERROR: Schema = {"error_code": pl.Int64(), "error_title": pl.String(), "error_details": pl.String()}


def _schema(*parts: Schema | str) -> Schema:
    schema: Schema = {}
    for part in parts:
        schema |= part if isinstance(part, dict) else dict.fromkeys(part.split(), pl.String())
    return schema


STATUSES = _schema(
    _LINE,
    "wamid status",
    {"status_at": _TIME},
    "callback",
    _ERROR,
    "pricing_category pricing_type",
)
# kind: text, button, list, reaction, media, other; `type` is Meta's own word.
INBOUND = _schema(
    _LINE,
    "wamid wa_id phone user_id profile_name kind type payload text context_wamid media_id mime_type filename",
    _ERROR,
    {"replied_at": _TIME},
)
PREFERENCES = _schema(_LINE, "wa_id phone user_id category value detail", {"changed_at": _TIME})
# kind: user_changed_number, user_changed_user_id, user_id_update and what else Meta invents.
IDENTITIES = _schema(
    _LINE, "wamid kind wa_id phone user_id new_wa_id new_phone new_user_id detail", {"changed_at": _TIME}
)
# kind: status, quality, category, components; `language` with _ (Meta writes en-US here and en_US elsewhere).
TEMPLATES = _schema(
    _LINE,
    "kind template_id name language event reason category previous_category quality previous_quality detail",
    {"changed_at": _TIME},
)
# field: phone_number_quality_update, business_capability_update, account_update, …; `detail` is the value as JSON.
NUMBERS = _schema(_LINE, "field display_phone event messaging_limit detail", {"changed_at": _TIME})
ERRORS = _schema(_LINE, _ERROR)
OTHER: Schema = {"field": pl.String(), "items": pl.Int64()}
BAD: Schema = {"line": pl.Int64(), "reason": pl.String(), "raw": pl.String()}
