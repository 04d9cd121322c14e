"""One line of `doctor`.

What belongs here: its shape, for the rooms that look at something.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at: its level, what was found, what to do where that is anything, and where the runbook tells
    of it."""

    what: str
    level: Level
    found: str
    mend: str = ""
    runbook: str = ""
