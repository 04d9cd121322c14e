"""What follows from a phone number alone: validity, country, `wa_id`, business-scoped user id, profile name.

Pure functions of the number. How a person *behaves* is `population`.
"""

from __future__ import annotations

import functools
import hashlib
import re

import phonenumbers

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_FIRST = (
    "Amina",
    "Bruno",
    "Camille",
    "Daniel",
    "Elif",
    "Fatou",
    "Giulia",
    "Hugo",
    "Inès",
    "Jonas",
    "Karim",
    "Léa",
    "Noor",
)
_LAST = ("Almeida", "Bernard", "Costa", "Diallo", "Engel", "Fischer", "Garcia", "Haddad", "Jensen", "Khan", "Nguyen")
_NAMES = [f"{first} {last}" for first in _FIRST for last in _LAST]


def problem(to: object) -> str | None:
    """What is wrong with a recipient, or None. Without its plus, Meta would prepend the business's own country."""
    if not isinstance(to, str) or not to:
        return "The parameter to must be a phone number."
    if not to.startswith("+"):
        return f"The recipient {to} has no leading +: the country code of the sender would be prepended."
    if not _E164.fullmatch(to):
        return f"The recipient {to} is not an E.164 phone number."
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(to))
    except phonenumbers.NumberParseException:
        possible = False
    return None if possible else f"The recipient {to} is not a possible phone number."


def in_united_states(phone: str) -> bool:
    """Whether the area code belongs to the US. Canada, Puerto Rico and the Caribbean share +1 and do not count."""
    if not phone.startswith("+1"):
        return False
    try:
        return bool(phonenumbers.region_code_for_number(phonenumbers.parse(phone)) == "US")
    except phonenumbers.NumberParseException:
        return False


def wa_id(phone: str) -> str:
    """WhatsApp's id of a number: its digits, but for Brazil's ninth digit and Mexico's mobile 1."""
    digits = phone.lstrip("+")
    if digits.startswith("55") and len(digits) == 13 and digits[4] == "9" and int(digits[2:4]) > 30:
        return digits[:4] + digits[5:]
    if digits.startswith("52") and len(digits) == 12:
        return "521" + digits[2:]
    return digits


@functools.lru_cache(maxsize=65_536)
def user_id(phone: str) -> str:
    """The business-scoped user id: country, dot, a number that does not tell the phone."""
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(phone)) or "ZZ"
    except phonenumbers.NumberParseException:
        region = "ZZ"
    return f"{region}.{_hash(phone, 'user') % 10**17 + 10**16}"


def profile_name(phone: str) -> str:
    return _NAMES[_hash(phone, "name") % len(_NAMES)]


def _hash(phone: str, salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt}:{phone}".encode(), digest_size=8).digest(), "big")
