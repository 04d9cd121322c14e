"""Doing: which segment a pass evaluates, for whoever waits for it or wonders.

What belongs here: the words in the note of the lease `pass` that say so, and reading them. They are written down when
the lease is renewed in any case, every ten seconds: a segment that takes less costs nothing, and what a process that
was killed has left there is gone with its lease.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from resources.lease_names import PASS
from resources.ledger import LeaseRow

_WORDS = re.compile(r"(?:^|; )segment (\S+) since (\S+)$")


@dataclass(frozen=True, slots=True)
class Evaluating:
    """A segment, and since when (UTC, wall) it is being evaluated."""

    segment: str
    since: datetime

    @classmethod
    def of(cls, segment: str, wall: float) -> "Evaluating":
        return cls(segment, datetime.fromtimestamp(int(wall), UTC))

    def __str__(self) -> str:
        return f"segment {self.segment} since {self.since:%Y-%m-%dT%H:%M:%SZ}"


def noted(note: str | None, doing: Evaluating | None) -> str:
    """The note of a lease whose holder is at this."""
    return "; ".join(str(part) for part in (note, doing) if part)


def evaluating(note: str | None) -> Evaluating | None:
    """What a lease's note says of it."""
    found = _WORDS.search(note or "")
    return Evaluating(found[1], datetime.fromisoformat(found[2])) if found else None


def evaluated_now(leases: Iterable[LeaseRow]) -> Evaluating | None:
    """What a pass is at, if there is one."""
    return next((evaluating(row.note) for row in leases if row.name == PASS), None)
