"""Bodies in bulk: a frame of people and a filled message in, one Cloud API request body a person out, or a skip.

What belongs here: `render`, and `with_callback`, which adds the last key. What a message and its variables are is
`message_spec` and `fill`; how values become text is `slots`; the shape of a body is `skeleton`; how it looks is
`shown`.

How it works: the body is built once with marks where something differs from person to person, and cut at them. Each
variable is one column, brought to its text, escaped, and laid between the constant parts. No person has a turn of
Python: 1M bodies with five variables take one to two seconds. Built as a nested column the body costs three times as
much, and one model a person 27 times.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from journey.braces import cut
from journey.fill import spec_for, text_spec_for
from journey.marks import LABEL, LINK
from journey.message_spec import MessageSpec, TextSpec, needs
from journey.shown import ShownButton, ShownMessage, show
from journey.skeleton import PHONE, PREVIEW, link_skeleton, skeleton
from journey.slots import COORDINATES, OWN_COLUMNS, Slot, slots_of
from journey.template import PLACEHOLDER
from journey.text import percent_encoded
from journey.words import SkipReason

__all__ = [
    "BODY_LENGTH",
    "CALLBACK_LENGTH",
    "CODE_TO_COPY_LENGTH",
    "E164",
    "HEADER_LENGTH",
    "OWN_COLUMNS",
    "RENDERED",
    "TEXT_LENGTH",
    "URL_LENGTH",
    "MessageSpec",
    "ShownButton",
    "ShownMessage",
    "TextSpec",
    "needs",
    "render",
    "show",
    "spec_for",
    "text_spec_for",
    "with_callback",
]

# Meta, message templates, "Components", and text messages: what a filled message may have, in characters.
BODY_LENGTH = 1024
HEADER_LENGTH = 60
URL_LENGTH = 2000
CODE_TO_COPY_LENGTH = 20
TEXT_LENGTH = 4096
CALLBACK_LENGTH = 512

RENDERED = {"body": pl.String, "skip_reason": pl.String, "skip_detail": pl.String, "media": pl.String}

E164 = r"^\+[1-9][0-9]{6,14}$"
_WEB = r"^(?i:https?)://."
_LINKED = r"(?i:https?)://"
_NUMBER = r"^[+-]?[0-9]{1,3}(\.[0-9]+)?$"


def render(spec: MessageSpec | TextSpec, people: pl.DataFrame, *, default_timezone: str = "UTC") -> pl.DataFrame:
    """Makes each person's request body, without `biz_opaque_callback_data` (see `with_callback`).

    `people` has `phone` (String, E.164 with +), `timezone` (String, IANA, may be null or absent) and for each of
    `needs(spec)` a column `user.NAME` or `event.NAME` of any type; for `user` contact_id, phone and locale the column
    of that name serves too. `default_timezone` (IANA) is the zone of times written without one, and of people without
    one.

    Returns the rows in their order with every column but `user.…` and `event.…`, and the columns of RENDERED: `body`
    (JSON that ends in "}" once the marks in it are filled, see `marks`; null where skipped), `skip_reason` (SkipReason,
    null where there is a body), `skip_detail` (which variable, which address; null where there is a body), `media` (the
    header's address, null where there is none or no body); and for each counted link `link.INDEX` (the address that it
    leads to, null where skipped) and `label.INDEX`. Of several reasons the first counts, in this order:

    1. invalid_phone: no phone, or not E.164
    2. missing_variable: a variable is null or blank and has no fallback (the detail names every such one), or the
       address of a counted link is no http(s) address
    3. missing_media: the header's image, video or document has no address, or what it has is no http(s) address; a
       location is not whole, or is not on Earth
    4. too_long: the filled body has over 1,024 characters (free text: 4,096), the header's text over 60, a button's
       URL over 2,000, a code to copy over 20. Coupon codes count 20 here

    Raises ValueError where a column is missing, or where a format or a time zone cannot be used.
    """
    zones = people["timezone"] if "timezone" in people.columns else None
    if "phone" not in people.columns:
        raise ValueError("the frame of people has no column phone")
    slots = {slot.mark: slot.fill(people, spec.language, zones, default_timezone) for slot in slots_of(spec)}
    work = pl.DataFrame({"phone": people["phone"]}).with_columns(
        *(column for slot in slots.values() for column in slot.columns)
    )
    phone = pl.col("phone").cast(pl.String)
    links = _links(spec, slots)
    skips = [
        _Skip(SkipReason.invalid_phone, ~phone.str.contains(E164).fill_null(False), _phone_detail(phone)),
        *_missing(slots),
        *_unlinked(spec, links),
        *_no_media(slots),
        *_too_long(spec, slots),
    ]
    reason, detail = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for skip in reversed(skips):
        reason = pl.when(skip.when).then(pl.lit(skip.reason.value)).otherwise(reason)
        detail = pl.when(skip.when).then(skip.detail).otherwise(detail)
    work = work.with_columns(reason.alias("skip_reason"), detail.alias("skip_detail"))
    goes = pl.when(pl.col("skip_reason").is_null())
    media = slots["header"].text if isinstance(spec, MessageSpec) and spec.media else pl.lit(None, pl.String)
    made = work.select(
        goes.then(_body(spec, slots)).alias("body"),
        "skip_reason",
        "skip_detail",
        goes.then(media).alias("media"),
        *(goes.then(address).alias(f"{LINK}{index}") for index, address in links.items()),
        *(pl.lit(_label(spec, index)).alias(f"{LABEL}{index}") for index in links),
    )
    if made.select((pl.col("body").is_null() != pl.col("skip_reason").is_not_null()).any()).item():
        # One null part makes a whole body null: the message would be lost without a skip.
        raise AssertionError("a body is missing without a reason")
    kept = [name for name in people.columns if not name.startswith(("user.", "event.")) and name not in RENDERED]
    return people.select(kept).hstack(made.get_columns())


def with_callback(body: str, data: str) -> str:
    """The body with `biz_opaque_callback_data` as its last key; Meta gives it back in every status.

    Raises ValueError where `data` has more than 512 characters.
    """
    if len(data) > CALLBACK_LENGTH:
        raise ValueError(f"callback data has at most {CALLBACK_LENGTH} characters, and this has {len(data)}")
    return f'{body[:-1]},"biz_opaque_callback_data":{json.dumps(data, ensure_ascii=False)}}}'


@dataclass(frozen=True)
class _Skip:
    reason: SkipReason
    when: pl.Expr
    detail: pl.Expr


def _body(spec: MessageSpec | TextSpec, slots: Mapping[str, Slot]) -> pl.Expr:
    texts = {PHONE: pl.col("phone"), **{mark: slot.text for mark, slot in slots.items()}}
    if isinstance(spec, TextSpec):
        texts[PREVIEW] = _preview(spec, slots)
    return pl.concat_str([texts[piece] if place % 2 else pl.lit(piece) for place, piece in enumerate(skeleton(spec))])


def _preview(spec: TextSpec, slots: Mapping[str, Slot]) -> pl.Expr:
    """Whether a text has an address in it, whose page WhatsApp then shows in small: `true` or `false`."""
    if not slots or re.search(_LINKED, "\n".join(cut(spec.text)[::2])):
        return pl.lit("true" if re.search(_LINKED, spec.text) else "false")
    linked = pl.any_horizontal(slot.text.str.contains(_LINKED) for slot in slots.values())
    return pl.when(linked).then(pl.lit("true")).otherwise(pl.lit("false"))


def _links(spec: MessageSpec | TextSpec, slots: Mapping[str, Slot]) -> dict[int, pl.Expr]:
    """The addresses to which counted links lead, by the button's index; null where a place of one has no text."""
    counted = spec.links() if isinstance(spec, MessageSpec) else {}
    found: dict[int, pl.Expr] = {}
    for index, link in counted.items():
        pieces = link_skeleton(index, link)
        constants = percent_encoded(pl.Series([piece.strip() for piece in pieces[::2]], dtype=pl.String))
        found[index] = pl.concat_str(
            [slots[piece].text if place % 2 else pl.lit(constants[place // 2]) for place, piece in enumerate(pieces)]
        )
    return found


def _label(spec: MessageSpec | TextSpec, index: int) -> str:
    return spec.template.buttons[index].text if isinstance(spec, MessageSpec) else ""


def _phone_detail(phone: pl.Expr) -> pl.Expr:
    said = pl.concat_str(pl.lit("phone "), phone, pl.lit(" is not E.164 with +"))
    return said.fill_null("phone is missing")


def _missing(slots: Mapping[str, Slot]) -> Iterator[_Skip]:
    texts = [slot for slot in slots.values() if slot.kind not in ("media", "place")]
    if texts:
        yield _Skip(SkipReason.missing_variable, pl.any_horizontal(s.text.is_null() for s in texts), _empty(texts))


def _unlinked(spec: MessageSpec | TextSpec, links: Mapping[int, pl.Expr]) -> Iterator[_Skip]:
    for index, address in links.items():
        words = pl.concat_str(pl.lit(f"the link of button {_label(spec, index)} is no http(s) address: "), address)
        yield _Skip(SkipReason.missing_variable, ~address.str.contains(_WEB), words)


def _no_media(slots: Mapping[str, Slot]) -> Iterator[_Skip]:
    reason = SkipReason.missing_media
    for slot in slots.values():
        if slot.kind == "media":
            yield _Skip(reason, slot.text.is_null(), _empty([slot]))
            words = pl.concat_str(pl.lit(f"{slot.words} is not an http(s) address: "), slot.text)
            yield _Skip(reason, ~slot.text.str.contains(_WEB), words)
    places = [slot for slot in slots.values() if slot.kind == "place"]
    if places:
        yield _Skip(reason, pl.any_horizontal(slot.text.is_null() for slot in places), _empty(places))
    for name, most in COORDINATES.items():
        if name in slots and slots[name].kind == "place":
            text = slots[name].text
            number = pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64)
            words = pl.concat_str(pl.lit(f"{slots[name].words} is no number from -{most} to {most}: "), text)
            yield _Skip(reason, ~(number.abs() <= most).fill_null(False), words)


def _empty(slots: Sequence[Slot]) -> pl.Expr:
    said = [pl.when(slot.text.is_null()).then(pl.lit(slot.lacks)) for slot in slots]
    return pl.concat_str(said, separator="; ", ignore_nulls=True)


def _too_long(spec: MessageSpec | TextSpec, slots: Mapping[str, Slot]) -> Iterator[_Skip]:
    if isinstance(spec, TextSpec):
        pieces = cut(spec.text)
        by_name = dict(zip(spec.variables, slots.values(), strict=True))
        yield from _over("the text", len("".join(pieces[::2])), [by_name[name] for name in pieces[1::2]], TEXT_LENGTH)
        return
    template = spec.template
    by_name = {name: slots[f"body{place}"] for place, name in enumerate(spec.body_order())}
    yield from _over_template("the body", template.body, BODY_LENGTH, by_name)
    if spec.header_kind == "text" and template.header is not None:
        by_name = dict.fromkeys(template.header.placeholders, slots["header"])
        yield from _over_template("the header", template.header.text or "", HEADER_LENGTH, by_name)
    for index in spec.buttons:
        button, slot = template.buttons[index], slots[f"button{index}"]
        if button.type == "COPY_CODE":
            yield from _over(slot.what, 0, [slot], CODE_TO_COPY_LENGTH)
        else:
            by_name = dict.fromkeys(button.placeholders, slot)
            yield from _over_template(slot.what, button.url or "", URL_LENGTH, by_name)


def _over_template(what: str, text: str, limit: int, by_name: Mapping[str, Slot]) -> Iterator[_Skip]:
    used = [by_name[name] for name in PLACEHOLDER.findall(text)]
    yield from _over(what, len(PLACEHOLDER.sub("", text)), used, limit)


def _over(what: str, constant: int, used: Sequence[Slot], limit: int) -> Iterator[_Skip]:
    """A skip where a filled text passes its limit; nothing where the longest values could not."""
    if constant + sum(slot.longest for slot in used) <= limit:
        return
    length = pl.sum_horizontal(pl.lit(constant), *(slot.length for slot in used))
    words = pl.concat_str(pl.lit(f"{what} would have "), length, pl.lit(f" characters; at most {limit} are allowed"))
    yield _Skip(SkipReason.too_long, length > limit, words)
