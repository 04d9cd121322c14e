"""The sandbox's own clock, which can be turned, and the two ways in which times are written.

Only what the *platform* says runs on it: timestamps, delays of people, the 24 hour window, the messaging limit.
Rates, latencies and retries run on the machine's monotonic clock and do not belong here.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class TimeError(ValueError):
    """A time or duration that cannot be read, or a clock that was asked to go back."""


def parse_time(value: str | float) -> float:
    """Epoch seconds of an ISO 8601 time (without a zone: UTC) or of a number of epoch seconds."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise TimeError(f"{value!r} is not a time: write it as 2026-12-01T10:00:00Z") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def parse_duration(value: str | float) -> float:
    """Seconds of `90s`, `30m`, `24h`, `2d`, `1w`, or of a number of seconds."""
    if isinstance(value, (int, float)):
        return float(value)
    found = _DURATION.fullmatch(value.strip())
    if not found:
        raise TimeError(f"{value!r} is not a duration: write it as 90s, 30m, 24h, 2d or 1w")
    return float(found[1]) * _SECONDS[found[2]]


def iso(at: float) -> str:
    """`2026-12-01T10:00:00Z`, with a fraction only where there is one."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="auto" if moment.microsecond else "seconds").replace("+00:00", "Z")


class Clock:
    """Ticks with the machine, or stands still where it was turned to. Never goes back."""

    def __init__(self, now: str | float | None = None, ticking: bool | None = None) -> None:
        self._base = time.time() if now is None else parse_time(now)
        self._mark = time.monotonic()
        self.ticking = now is None if ticking is None else ticking

    def now(self) -> float:
        """Epoch seconds."""
        return self._base + (time.monotonic() - self._mark) if self.ticking else self._base

    def turn(self, to: float, ticking: bool = False) -> None:
        """Set the clock to `to`; raises TimeError when that lies behind it."""
        now = self.now()
        if to < now - 1e-6:
            raise TimeError(f"the clock stands at {iso(now)} and does not go back to {iso(to)}")
        self._base, self._mark, self.ticking = max(to, now), time.monotonic(), ticking

    def stand(self) -> float:
        """Lets it stand still where it is; gives the time."""
        self._base, self.ticking = self.now(), False
        return self._base
