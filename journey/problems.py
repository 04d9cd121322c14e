"""What is wrong and how to mend it: the one shape of a finding, and the tree of errors that a user can cause.

EstafetteError              says what is wrong, where, and what to do; the command line prints it and exits 1
├── ProjectError            a project file that cannot be used (settings, campaign, segment, template)
├── SegmentError            a segment query that is refused or fails
├── LedgerError             the ledger cannot be reached, is of a newer version, or a lease was lost
│   └── LeaseLost           another process acts now; whoever sees this must stop writing
├── CloudApiError           Meta (or the way to it) refused
└── UsageError              an argument that cannot be right; exit 2
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a project file: where it is (file, line from 1, dotted field), what it is, what to do."""

    file: str
    line: int
    field: str
    message: str
    mend: str
    level: Level = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} {self.message}. {self.mend}"


class EstafetteError(Exception):
    """The root: `message` (what), `where` (file:line, field, or empty) and `mend` (what to do, or empty)."""

    def __init__(self, message: str, *, where: str = "", mend: str = "") -> None:
        self.message, self.where, self.mend = message, where, mend
        super().__init__(": ".join(part for part in (where, message) if part) + (f". {mend}" if mend else ""))


class ProjectError(EstafetteError):
    """Project files that cannot be used; `problems` holds each finding."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class SegmentError(EstafetteError):
    """A segment's query is refused (not one SELECT) or fails."""


class LedgerError(EstafetteError):
    """The ledger cannot be used."""


class LeaseLost(LedgerError):
    """The lease has passed to someone else."""


class CloudApiError(EstafetteError):
    """Meta's API, or the way to it, refused something that is not about one message."""


class UsageError(EstafetteError):
    """An argument of a command that cannot be right."""


def foreseen(error: BaseException) -> EstafetteError | None:
    """The nearest error of ours among what an error was raised from, or while; None where none is.

    Dagster raises a user's error while it handles its own, which was raised from the user's: the causes are a ring.
    """
    waiting, met = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, EstafetteError):
            return one
        if id(one) not in met:
            met.add(id(one))
            causes = (one.__cause__, getattr(one, "user_exception", None), one.__context__)
            waiting += [cause for cause in causes if isinstance(cause, BaseException)]
    return None
