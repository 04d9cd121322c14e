"""Phone numbers, as people and exports write them → E.164 with +.

What belongs here: the one meaning of "a phone number". Google's libphonenumber (its Python port) reads it. A number
counts when it is *possible* (its country is known and its length fits that country), not only when it is *valid* (its
range is known to be assigned): ranges open faster than installations are updated, and a real person must not be lost.

The port takes 35 µs a number, which would be most of an import. Numbers that are plainly written (+33612345678,
06 12 34 56 78) are read from its metadata at once; all others by itself. A test holds the two ways to one answer.
"""

import re
from functools import lru_cache

import phonenumbers
import polars as pl

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_STRANGER = "whatsapp:"
_MARKS = str.maketrans("", "", " .-()\u00a0\u202f")


def normalise(text: str, region: str) -> str | None:
    """A phone number in E.164; None where it can't be one. `region` (ISO 3166) is for numbers in the national way.

    `33612345678`, as WhatsApp itself and many exports write it, is read as `+33612345678` where it is no number of the
    region as it stands.
    """
    text = text.strip()
    digits = text.translate(_MARKS)
    found = _plain(digits, region) or parsed(text, region)
    if found is None and re.fullmatch(r"[1-9][0-9]{7,14}", digits):
        found = parsed(f"+{digits}", region)
    return found


def parsed(text: str, region: str) -> str | None:
    """What libphonenumber makes of a number."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number) or number.extension:
        return None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written if E164.fullmatch(written) else None


def normalise_all(texts: pl.Series, region: str) -> pl.Series:
    """A column of texts → E.164, null where there is none. Each distinct text is read once."""
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


_Numbering = tuple[frozenset[int], re.Pattern[str] | None, re.Pattern[str]]


def _plain(digits: str, region: str) -> str | None:
    """A number whose reading leaves no doubt; None for all others, good or bad."""
    if digits.startswith("+"):
        number = digits[1:]
        if not (number.isascii() and number.isdecimal()):
            return None
        for length in (1, 2, 3):
            numbering = _international(number[:length])
            if numbering is not None:
                lengths, prefix, _ = numbering
                rest = number[length:]
                trunk = prefix is not None and prefix.match(rest) is not None
                return digits if len(rest) in lengths and not trunk and rest[0] != "0" else None
        return None
    national = _national(region)
    if national is None or not (digits.isascii() and digits.isdecimal()) or not digits.startswith("0"):
        return None
    code, (lengths, _, pattern) = national
    rest = digits[1:]
    good = len(rest) in lengths and rest[0] != "0" and pattern.fullmatch(rest) is not None
    return f"+{code}{rest}" if good else None


@lru_cache(maxsize=1024)
def _international(code: str) -> _Numbering | None:
    """Lengths, national prefix and pattern of the numbers behind a country code; None where that is no such code."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code)) if code and code[0] != "0" else None
    return None if not regions else _numbering(phonenumbers.PhoneMetadata.metadata_for_region(regions[0], None))


@lru_cache(maxsize=1024)
def _national(region: str) -> tuple[int, _Numbering] | None:
    """The country code and numbering of a region whose national prefix is a plain 0; None for the others."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or metadata.national_prefix_for_parsing != "0" or metadata.national_prefix_transform_rule:
        return None
    numbering = _numbering(metadata)
    return None if numbering is None else (phonenumbers.country_code_for_region(region), numbering)


def _numbering(metadata: phonenumbers.PhoneMetadata | None) -> _Numbering | None:
    general = None if metadata is None else metadata.general_desc
    if metadata is None or general is None or not general.national_number_pattern:
        return None
    prefix = metadata.national_prefix_for_parsing
    trunk = re.compile(prefix) if prefix else None
    return frozenset(general.possible_length), trunk, re.compile(general.national_number_pattern)
