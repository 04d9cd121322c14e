"""Containing: an error that nobody foresaw costs the file or the campaign in which it came up, and nobody else.

What belongs here: telling such an error from one that reaches further, saying it in one line, finding the line of a
file that brings it about, and what is kept of campaigns that met one. What reaches further goes on: a lost lease, a
ledger or a disk that can't be used, no memory, and every wish to end (those are no `Exception`).
"""

import contextlib
import errno
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import to_us
from journey.problems import CloudApiError, EstafetteError, LedgerError
from resources.ledger import Lease, Ledger, Wall
from resources.tables import trouble

L = TypeVar("L")
T = TypeVar("T")
Line = tuple[int, bytes]

AGAIN = 60.0
"""Seconds (wall) that a live pass leaves a campaign alone after an error, and a segment after it failed."""

FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What Polars raises. Of a file that is damaged in the right place it says by a panic, which is no `Exception`."""

_ROOT = Path(__file__).resolve().parent.parent
_STORES = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM", "EACCES", "EPERM", "ESTALE")
)
_FULL = ("no space left", "disk quota", "disk is full", "read-only file system", "out of memory")
_OF_A_ROW = sa.exc.IntegrityError | sa.exc.DataError | sa.exc.ProgrammingError


@dataclass(frozen=True, slots=True)
class Of:
    """Whose messages (`m`) are meant: those of one campaign, or of all but some. `sql` goes behind a query's conditions
    and asks for `names`."""

    sql: str
    names: str

    @classmethod
    def one(cls, campaign: str) -> "Of":
        return cls(" AND m.campaign = ?", campaign)

    @classmethod
    def all_but(cls, campaigns: Iterable[str]) -> "Of":
        names = msgspec.json.encode(sorted(campaigns)).decode()
        return cls(" AND m.campaign NOT IN (SELECT value FROM json_each(?))", names)


def reaches_further(error: BaseException) -> bool:
    """Whether an error concerns more than the file or the campaign that was being dealt with when it came up."""
    one: BaseException | None = error
    while one is not None:
        if not isinstance(one, (Exception, *FAULTS)) or isinstance(one, LedgerError | CloudApiError | MemoryError):
            return True
        if isinstance(one, OSError) and one.errno in _STORES:
            return True
        if isinstance(one, sa.exc.DBAPIError) and not isinstance(one, _OF_A_ROW):
            return True
        if any(words in str(one).lower() for words in _FULL):
            return True
        one = one.__cause__
    return False


def told(error: BaseException) -> str:
    """An error in one line: what it says, and where in Estafette it came up unless it was foreseen."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, EstafetteError):
        return text
    places = [
        f"{Path(frame.filename).relative_to(_ROOT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_ROOT) and ".venv" not in frame.filename
    ]
    where = f" ({places[-1]})" if places else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def unforeseen(error: Exception) -> str:
    """The reason of what was put aside because Estafette itself failed on it."""
    return f"Estafette failed on it: {told(error)}"


def line_by_line(lines: Sequence[L], use: Callable[[Sequence[L]], T]) -> Iterator[T | tuple[L, Exception]]:
    """What `use` makes of the lines, all at once. Where it fails they are halved until the lines are found that it
    fails on: those are given with their error. `use` must do no harm when it is called again for the same lines."""
    try:
        made = use(lines)
    except Exception as error:
        if not lines or reaches_further(error):
            raise
        if len(lines) == 1:
            yield lines[0], error
            return
    else:
        yield made
        return
    middle = len(lines) // 2
    yield from line_by_line(lines[:middle], use)
    yield from line_by_line(lines[middle:], use)


class Troubles:
    """Campaigns in which an error came up. Each is left alone for a while by whoever met it; the ledger says which and
    why, until the campaign gets through a turn again."""

    def __init__(self, ledger: Ledger, wall: Wall) -> None:
        self._ledger, self._wall = ledger, wall
        self._until: dict[str, tuple[float, float]] = {}

    def rests(self, campaign: str) -> bool:
        """Whether a campaign is left alone now."""
        since, until = self._until.get(campaign, (0.0, 0.0))
        return since <= self._wall() < until  # a clock that was set back makes no wait longer

    def resting(self) -> set[str]:
        """The campaigns that are left alone now."""
        return {name for name in self._until if self.rests(name)}

    @contextlib.contextmanager
    def contained(self, lease: Lease, campaign: str, doing: str, now: datetime) -> Iterator[None]:
        """What goes wrong within the block costs this campaign alone; what reaches further is raised. `doing`: what was
        being done, for people ("advancing it")."""
        try:
            yield
        except (Exception, *FAULTS) as error:
            if reaches_further(error):
                raise
            self.met(lease, campaign, doing, error, now)

    def met(self, lease: Lease, campaign: str, doing: str, error: BaseException, now: datetime) -> None:
        """An error came up while a campaign was dealt with."""
        wall = self._wall()
        self._until[campaign] = (wall, wall + AGAIN)
        values = {"doing": doing, "error": told(error), "seen_at": to_us(now)}
        with self._ledger.write(lease) as tx:
            row = insert(trouble).values(campaign=campaign, since=to_us(now), **values)
            tx.execute(row.on_conflict_do_update(index_elements=["campaign"], set_=values))

    def over(self, lease: Lease) -> None:
        """To be called at the end of a turn: whatever campaign does not rest has got through it."""
        with self._ledger.read() as tx:
            names: Collection[str] = tx.execute(sa.select(trouble.c.campaign)).scalars().all()
        well = [name for name in names if not self.rests(name)]
        if well:
            with self._ledger.write(lease) as tx:
                tx.execute(trouble.delete().where(trouble.c.campaign.in_(well)))


def troubles(ledger: Ledger) -> dict[str, sa.Row[tuple[object, ...]]]:
    """The campaigns in which an error came up and that have not got through a turn since: `doing`, `error`, `since` and
    `seen_at` (microseconds) by name."""
    with ledger.read() as tx:
        return {row.campaign: row for row in tx.execute(sa.select(trouble).order_by(trouble.c.campaign))}
