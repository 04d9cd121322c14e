"""Texts with {name} placeholders: free-text messages, and the addresses of counted links.

What belongs here: cutting such a text. `{{` and `}}` are literal braces. Templates have placeholders of their own kind
(`template`); what fills a place is `fill`.
"""

import re

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def cut(text: str) -> list[str]:
    """The text in pieces: constant, name, constant, …, constant; a name at every odd place, constants may be empty.

    Raises ValueError with a sentence on a brace that stands alone, and on a placeholder without a name.
    """
    pieces, end = [""], 0
    for found in _PIECE.finditer(text):
        pieces[-1] += text[end : found.start()]
        end = found.end()
        if found[0] in ("{{", "}}"):
            pieces[-1] += found[0][0]
        elif found[1] is None:
            raise ValueError(f"a {found[0]} stands alone; write {found[0] * 2} where a brace is meant")
        elif not found[1].strip():
            raise ValueError("a placeholder has no name; write e.g. {first_name}, or {{ }} where braces are meant")
        else:
            pieces += [found[1].strip(), ""]
    pieces[-1] += text[end:]
    return pieces


def escape(text: str) -> str:
    """A text without placeholders that reads as it stands."""
    return text.replace("{", "{{").replace("}", "}}")


def names_in(text: str) -> tuple[str, ...]:
    """The names of the placeholders, each once, in order of first appearance. Raises ValueError as `cut`."""
    return tuple(dict.fromkeys(cut(text)[1::2]))
