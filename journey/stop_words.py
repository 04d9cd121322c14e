"""Stop words and start words: whether the whole of what a person wrote is one of them.

What belongs here: the comparison. What follows from it is `consent`.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(1_000)
def bare(text: str) -> str:
    """Letters and digits of a text, without case, accents, punctuation and spaces: « Arrêt ! » is `arret`."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(char for char in folded if char.isalnum())


def is_one_of(texts: Iterable[str | None], words: Iterable[str]) -> bool:
    """Whether one of the texts (the message, the button's text or payload) is, as a whole, one of the words."""
    wanted = {bare(word) for word in words} - {""}
    return any(text is not None and bare(text) in wanted for text in texts)
