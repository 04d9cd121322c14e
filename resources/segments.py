"""Evaluating a segment: who is in it now, and with which attributes, within limits that hold.

What belongs here: what a segment may take of time and memory, and its evaluation within that, in a process of its own.
The database it runs in is `segment_database`, the process `work_process`.

DuckDB looks whether it is interrupted between calls and not within one, and counts only part of the memory that it
takes: a regular expression over texts of megabytes, or one call that builds a list of billions, would hold a pass, or
end it with its process. So the evaluation is a process that can be ended, and a pass that lost one goes on.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from journey.audience import Segment, order
from journey.conditions import Clock
from journey.problems import SegmentError
from resources import segment_database
from resources.segment_database import MEMORY, Audience, Tables
from resources.work_process import Ended, TookLonger, WorkProcess

SECONDS = 300.0
MOST_MEMORY = 4 << 30
"""Bytes by which the process may grow: what functions build, and what is handed over, DuckDB does not count."""

_FRAME = "found.arrow"
_MEND = "Narrow it down, e.g. by time; a join without a condition pairs everybody with everybody"
_process = WorkProcess()


def evaluate(
    name: str,
    segments: Mapping[str, Segment],
    tables: Tables,
    now: datetime,
    timezone: ZoneInfo,
    memory: str = MEMORY,
    seconds: float = SECONDS,
    growth: int = MOST_MEMORY,
) -> Audience:
    """The audience of the segment `name` at `now` (UTC); times without a zone are in `timezone` (the settings').

    SegmentError: it is unknown, refused, fails (with file and line), takes longer than `seconds`, or makes its process
    grow by more than `growth` bytes.
    """
    try:
        needed = order(segments, name)
    except KeyError as error:
        raise SegmentError(f"there is no segment `{error.args[0]}`", mend="`estafette check` lists them") from None
    except ValueError as error:
        raise SegmentError(str(error), where=segments[name].file) from None
    clock = Clock(now, timezone)
    with tempfile.TemporaryDirectory(prefix="estafette-segment-") as folder:
        arguments = (list(needed), tables, clock, memory, Path(folder))
        found: Audience = _ask(needed[-1], seconds, growth, _audience, *arguments)
        return replace(found, frame=pl.read_ipc(Path(folder) / _FRAME))


def returned(
    segment: Segment, tables: Tables, now: datetime, timezone: ZoneInfo, seconds: float = SECONDS
) -> tuple[str, ...]:
    """The further columns that an SQL segment returns, without running it. SegmentError: it can't run."""
    with tempfile.TemporaryDirectory(prefix="estafette-segment-") as folder:
        arguments = (segment, tables, Clock(now, timezone), MEMORY, Path(folder))
        found: tuple[str, ...] = _ask(segment, seconds, MOST_MEMORY, segment_database.columns, *arguments)
        return found


def _ask(segment: Segment, seconds: float, growth: int, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return _process.ask(work, *arguments, seconds=seconds, growth=growth)
    except Ended as ended:
        more = f"A pass gives it {SECONDS:g} s. " if isinstance(ended, TookLonger) and seconds < SECONDS else ""
        raise SegmentError(str(ended), where=segment.file, mend=f"{more}{_MEND}") from None


def _audience(needed: list[Segment], tables: Tables, clock: Clock, memory: str, folder: Path) -> Audience:
    """In the process: the people go through a file, of which the one side holds no copy and the other no second one."""
    found = segment_database.audience(needed, tables, clock, memory, folder)
    found.frame.write_ipc(folder / _FRAME)
    return replace(found, frame=found.frame.clear())


__all__ = ["Audience", "Tables", "evaluate", "returned"]
