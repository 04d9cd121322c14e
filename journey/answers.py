"""Answers: which key of `answers` (or of `is`) what a person said matches.

What belongs here: the comparison, for one answer and for a frame of them. Which message an answer belongs to is
`resources.inbound`; which way it leads is `cohort`.

Compared are the payload, then the text, each as a whole. Case, spaces around, the style of apostrophes, final
punctuation and how accents are composed make no difference: « OUI, ÇA M'INTÉRESSE ! » is `Oui, ça m’intéresse`. Spaces,
punctuation and accents inside do. What is punctuation only is compared as it is, so that `?` is not `!`.
"""

import unicodedata
from collections.abc import Iterable

import polars as pl

_APOSTROPHES = dict.fromkeys(map(ord, "`´‘’‛′ʹʻʼʽˈꞌ＇"), "'")
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # keyboards put them at the ends; str.strip leaves them
_FINAL = ".!?…,;:。．！？，；：｡、؟،؛।॥‼‽⁇⁈⁉"


def compared(text: str) -> str:
    """A text as it is compared: two texts are the same answer where this is the same. Empty: nothing was said."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(_APOSTROPHES)
    whole = _bare(folded, "")
    return _bare(whole, _FINAL) or whole


def answer_key(payload: str | None, text: str | None, keys: Iterable[str]) -> str | None:
    """The key that an answer matches, by its payload, else by its text; None: none of them."""
    known = _known(keys)
    for said in (payload, text):
        found = known.get(compared(said)) if said is not None else None
        if found is not None:
            return found
    return None


def answer_keys(payload: pl.Series, text: pl.Series, keys: Iterable[str]) -> pl.Series:
    """`answer_key` row by row (two String columns of one length → String, null: no key)."""
    known = _known(keys)
    columns = {"payload": payload.cast(pl.String), "text": text.cast(pl.String)}
    said = pl.concat(list(columns.values())).drop_nulls().unique().to_list()
    meant = {one: known[form] for one in said if (form := compared(one)) in known}
    matched = pl.all().replace_strict(meant, default=None, return_dtype=pl.String)
    return pl.DataFrame(columns).select(matched).select(key=pl.coalesce("payload", "text")).to_series()


def _known(keys: Iterable[str]) -> dict[str, str]:
    """Keys by what is compared; of two that are the same, the first."""
    known: dict[str, str] = {}
    for key in keys:
        known.setdefault(compared(key), key)
    known.pop("", None)
    return known


def _bare(text: str, ends: str) -> str:
    """A text without white space around it and without `ends` at its end, however they follow one another."""
    while True:
        less = text.strip().strip(_INVISIBLE).rstrip(ends) if ends else text.strip().strip(_INVISIBLE)
        if less == text:
            return text
        text = less
