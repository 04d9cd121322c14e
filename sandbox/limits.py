"""The platform's limits: messages a second per number, per pair, and people a day per account (the messaging limit).

The first two run on the monotonic clock (nanoseconds), the third on the sandbox's clock. Pure bookkeeping: what a limit
answers is said in `world`.
"""

from __future__ import annotations

from collections import deque

SECOND = 1_000_000_000
DAY = 86_400.0


class RateWindow:
    """At most `limit` messages in any sliding second; 0 or less: no limit."""

    def __init__(self) -> None:
        self._stamps: deque[int] = deque()

    def take(self, limit: int, at: int) -> bool:
        """Whether a message at monotonic `at` is let through; counts it when it is."""
        if limit <= 0:
            return True
        stamps = self._stamps
        while stamps and at - stamps[0] >= SECOND:
            stamps.popleft()
        if len(stamps) >= limit:
            return False
        stamps.append(at)
        return True


class PairLimit:
    """One message per `seconds` to one person, with `burst` messages borrowed from the future at most."""

    def __init__(self) -> None:
        self._free_at: dict[tuple[str, str], int] = {}

    def take(self, pair: tuple[str, str], seconds: float, burst: int, at: int) -> bool:
        step = int(seconds * SECOND)
        free_at = max(self._free_at.get(pair, at), at)
        if free_at - at > step * (burst - 1):
            return False
        self._free_at[pair] = free_at + step
        return True


class TierLimit:
    """At most `limit` different people in a rolling 24 h, per account; people with an open window don't count."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, float]] = {}

    def take(self, account: str, phone: str, limit: int, at: float) -> bool:
        people = self._last.setdefault(account, {})
        if phone not in people and len(people) >= limit:
            for old in [one for one, since in people.items() if at - since >= DAY]:
                del people[old]
            if len(people) >= limit:
                return False
        # The first contact of the day decides when a person leaves the window.
        if at - people.get(phone, at - DAY) >= DAY:
            people[phone] = at
        return True


def busiest_second(stamps: list[int]) -> int:
    """The most stamps (nanoseconds, any order) that fall in one sliding second."""
    ordered = sorted(stamps)
    most = start = 0
    for end, stamp in enumerate(ordered):
        while stamp - ordered[start] >= SECOND:
            start += 1
        most = max(most, end - start + 1)
    return most
