"""A terminal that what is shown on it can't command.

What belongs here: what becomes of characters that a terminal obeys instead of showing, wherever they come from: the
name of a file, a name or a message of a person, an error of Meta's.
"""

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but line breaks and tabs, what turns the direction of a text, and what is no character."""

_BREAKS = re.compile("[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]+")


class Terminal(Console):
    """A console on which such characters are shown as \N{REPLACEMENT CHARACTER}."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(harmless(one.text), one.style)


def harmless(text: str) -> str:
    """A text without what a terminal would obey."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """A text that can't make lines of its own, for names within a sentence."""
    return harmless(_BREAKS.sub("\N{REPLACEMENT CHARACTER}", text))
