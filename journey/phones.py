"""Phone numbers, as people and exports write them → E.164 with +.

What belongs here: the one meaning of "a phone number". Google's libphonenumber (its Python port) reads it. A number
counts when it is *possible* (its country is known and its length fits that country), not only when it is *valid* (its
range is known to be assigned): ranges open faster than installations are updated, and a real person must not be lost.
"""

import re
from functools import lru_cache

import phonenumbers
import polars as pl

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_STRANGER = "whatsapp:"


@lru_cache(maxsize=1 << 17)
def normalise(text: str, region: str) -> str | None:
    """A phone number in E.164; None where it can't be one. `region` (ISO 3166) is for numbers in the national way.

    `33612345678`, as WhatsApp itself and many exports write it, is read as `+33612345678` where it is no number of the
    region as it stands.
    """
    text = text.strip()
    found = _read(text, region)
    digits = re.sub(r"[\s().\-/\u00a0\u202f]", "", text)
    if found is None and re.fullmatch(r"[1-9][0-9]{7,14}", digits):
        found = _read(f"+{digits}", region)
    return found


def _read(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number) or number.extension:
        return None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written if E164.fullmatch(written) else None


def normalise_all(texts: pl.Series, region: str) -> pl.Series:
    """A column of texts → E.164, null where there is none. Each distinct text is read once (10 µs)."""
    distinct = texts.drop_nulls().unique()
    known = pl.DataFrame(
        {"text": distinct, "phone": [normalise(one, region) for one in distinct]},
        schema={"text": pl.String, "phone": pl.String},
    )
    joined = texts.alias("text").to_frame().join(known, on="text", how="left", maintain_order="left")
    return joined["phone"].alias(texts.name)


def stranger_id(phone: str) -> str:
    """The id of a contact that is known by its phone (or by Meta's user id) only."""
    return f"{_STRANGER}{phone}"


def is_stranger(contact_id: str) -> bool:
    """Whether an id was made by Estafette, so that a contact with an id of its own may take the phone over."""
    return contact_id.startswith(_STRANGER)
