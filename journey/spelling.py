"""What a misspelt word was probably meant to be. Every finding about an unknown name ends with it."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_LISTED = 8


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`, upper and lower case alike; None when nothing is near."""
    by_fold: dict[str, str] = {}
    for one in sorted(known):
        by_fold.setdefault(one.casefold(), one)
    found = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def suggest(word: str, known: Iterable[str], *, none: str) -> str:
    """What to do about an unknown word: `Did you mean …?`, else the known ones, else `none` where nothing is known."""
    words = sorted(known)
    near = nearest(word, words)
    if near is not None:
        return f"Did you mean `{near}`?"
    if not words:
        return none
    listed = ", ".join(f"`{one}`" for one in words[:MOST_LISTED])
    more = len(words) - MOST_LISTED
    return f"Known: {listed}" + (f" and {more} more." if more > 0 else ".")
