"""Finding people for the inbox: their names, and who is meant by what somebody typed.

What belongs here: which properties are a name, and looking for one, a phone, an id or a word that a contact wrote. Case
and accents do not matter. Searching reads the columns of names of all contacts (half a second a million).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from resources.home import Home

NAMES = ("name", "first_name", "last_name")
MOST = 2_000
"""People that one search may find; a search that finds more is to be made narrower."""
NEWEST = 100_000
"""Replies whose texts are looked through."""
_MARKS = r"\p{M}"
_TEXTS = "SELECT contact_id, text FROM reply WHERE replied_at >= 0 ORDER BY replied_at DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class Person:
    """A contact as the inbox names them. `name` is empty where nothing says it."""

    contact_id: str
    name: str
    phone: str | None


def name_columns(home: "Home") -> list[str]:
    """The properties that say a name: `name`, `first_name`, `last_name`, in any case, in this order."""
    known = {one.casefold(): one for one in reversed(home.contacts.properties())}
    return [known[one] for one in NAMES if one in known]


def people(home: "Home", ids: Sequence[str]) -> dict[str, Person]:
    """These contacts by id; who is unknown is left out."""
    if not ids:
        return {}
    columns = name_columns(home)
    rows = home.contacts.frame(["contact_id", "phone", *columns], ids).rows()
    return {row[0]: Person(row[0], _name(dict(zip(columns, row[2:], strict=True))), row[1]) for row in rows}


def search(home: "Home", words: str) -> list[str]:
    """The ids of who has `words` in the name, the phone, or something they wrote, or has this id; at most `MOST`."""
    wanted = fold(words)
    if not wanted:
        return []
    columns = name_columns(home)
    names = [pl.col(one).cast(pl.String).fill_null("") for one in columns]
    whole = _folded(pl.concat_str(*names, separator=" ")) if names else pl.lit("")
    found = whole.str.contains(wanted, literal=True) | (
        pl.col("contact_id").str.to_lowercase() == words.strip().lower()
    )
    digits = "".join(one for one in words if one.isdigit())
    if len(digits) >= 4 and not any(one.isalpha() for one in words):
        found |= pl.col("phone").str.contains(digits.removeprefix("00").lstrip("0"), literal=True)
    contacts = home.contacts.current(["contact_id", "phone", *columns]).filter(found.fill_null(False)).head(MOST)
    ids = contacts.select("contact_id").collect(engine="streaming").to_series().to_list()
    replies = home.ledger.frame(_TEXTS, {"contact_id": pl.String, "text": pl.String}, (NEWEST,))
    texts = replies.select(pl.col("text").unique()).drop_nulls()  # many people write the same
    fitting = texts.filter(_folded(pl.col("text")).str.contains(wanted, literal=True)).to_series()
    said = replies.filter(pl.col("text").is_in(fitting.implode()))
    return list(dict.fromkeys([*said["contact_id"].to_list(), *ids]))[:MOST]


def fold(text: str) -> str:
    """A text without case, accents and doubled spaces."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return " ".join(plain.lower().split())


def _folded(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFKD").str.replace_all(_MARKS, "").str.to_lowercase().str.replace_all(r"\s+", " ")


def _name(values: dict[str, object]) -> str:
    """`name`, else first and last name."""
    texts = {key.casefold(): " ".join(str(one).split()) for key, one in values.items() if one is not None}
    return texts.get("name") or " ".join(one for key in NAMES[1:] if (one := texts.get(key)))
