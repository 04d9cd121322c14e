"""Pacing: how many messages may leave now, so that no sliding second ever holds more than the pace.

What belongs here: the window and the rule that slows a sender down and lets it recover. Pure: times come in as seconds
of a clock that never goes back (wall), and nothing sleeps.
"""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

WINDOW = 1.004
"""The window is this much longer than a second: how late each message reaches the other side is told by its answer (see
LATE) to within a millisecond or two, and the rest keeps the receiver's own sliding second at or under the pace."""

LATE = 0.025
"""A message may have arrived as late as its answer came, less the quickest answer of late. It counts from then on, but
never so many seconds later than it left: what is beyond them is the other side's own time."""

FLOOR_SECONDS = 5.0
"""The quickest answer of late is that of the last five to ten seconds."""

BURST = 0.1
"""Seconds of the pace that may be caught up at once after the process stood still; the window bounds it too."""

SLOWER = 0.5
FASTER = 0.05
RECOVER_SECONDS = 5.0
FLOOR = 1.0
BELOW = 0.9  # of the configured pace
FORGET_SECONDS = 600.0

A_LANE = 1000.0
"""Messages a second that one loop carries with TLS and room to spare: 0.55 ms of CPU each."""


@dataclass(slots=True)
class Leave:
    """A message on its way. `written`: when it was given to the wire; `at`: when it was gone for certain, `written` or
    later; `answered`: when its answer came (None: not yet). Seconds."""

    written: float
    at: float
    answered: float | None = None


class Pacer:
    """A sliding log of what left. `pace` is messages a second; it may change between two calls.

    What `allow` lets go is said to have `left`, at the moment of its writing, or to be `withdrawn`; until then it
    counts. `answered` tells when its answer came.
    """

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self._going = 0
        self._log: deque[Leave] = deque()
        self._late: list[float] = []  # until when those count that are out of the log and may have arrived later
        self._credit = 0.0
        self._last: float | None = None
        self._floors = (float("inf"), float("inf"))  # of these five seconds, and of those before
        self._floor_since = 0.0

    def allow(self, now: float, waiting: int) -> int:
        """How many of `waiting` messages may leave at `now`.

        Two bounds at once: the sliding window (never more than the pace in WINDOW seconds) and an even flow, so that a
        pace of 1,000 is one each millisecond and not a burst of 1,000.
        """
        self._forget(now)
        room = max(1, int(self.pace)) - self._going - len(self._log) - len(self._late)
        elapsed = 0.0 if self._last is None else max(0.0, now - self._last)
        self._last = now
        burst = max(1.0, self.pace * BURST)
        self._credit = min(burst, self._credit + elapsed * self.pace)
        busy = self._log or self._going
        allowed = max(0, min(room, waiting, int(self._credit) if busy else max(1, int(self._credit))))
        self._credit = max(0.0, self._credit - allowed)
        self._going += allowed
        return allowed

    def left(self, now: float) -> Leave:
        """One of those that were allowed was written just now."""
        self._going -= 1
        leave = Leave(now, now)
        self._log.append(leave)
        return leave

    def withdrawn(self) -> None:
        """One of those that were allowed was not written after all."""
        self._going -= 1

    def answered(self, leave: Leave, now: float) -> None:
        """The answer to a message is there."""
        leave.answered = now
        took = now - leave.written  # from `at` it could seem quicker than any answer is
        if now - self._floor_since > FLOOR_SECONDS:
            self._floors, self._floor_since = (took, self._floors[0]), now
        elif took < self._floors[0]:
            self._floors = (took, self._floors[1])

    def _forget(self, now: float) -> None:
        window = WINDOW if self.pace >= 1 else WINDOW / self.pace
        floor = min(self._floors)
        while self._log and self._log[0].at <= now - window:
            leave = self._log.popleft()
            late = LATE if leave.answered is None else min(LATE, leave.answered - floor - leave.at)
            if late > 0:
                heappush(self._late, leave.at + window + late)
        while self._late and self._late[0] <= now:
            heappop(self._late)


def slower(pace: float) -> float:
    """The pace after Meta said that it was too fast (130429 and its like)."""
    return max(FLOOR, pace * SLOWER)


def faster(pace: float, ceiling: float, seconds_since_slowed: float) -> float:
    """The pace `seconds_since_slowed` after the last slow-down: a twentieth of the ceiling more each five seconds.
    Where that lies ahead the clock was set back, and nobody knows how long ago it was: Meta says so if it is too
    fast."""
    if seconds_since_slowed < 0:
        return ceiling
    steps = int(seconds_since_slowed / RECOVER_SECONDS)
    return min(ceiling, pace + steps * FASTER * ceiling)


def slowed_below(count: int, pace: float, ceiling: float, seconds_since_slowed: float | None) -> int:
    """How often in a row Meta has asked for slower sending below the configured pace, with time to recover between.
    `count` until now; `pace` in force when it asks again. Alone with a number nobody is asked that: two that share one
    each believe that all of its throughput is theirs."""
    if seconds_since_slowed is None or not 0 <= seconds_since_slowed < FORGET_SECONDS:
        count, seconds_since_slowed = 0, FORGET_SECONDS
    if pace > BELOW * ceiling or seconds_since_slowed < RECOVER_SECONDS:
        return count
    return count + 1


def shares(pace: float) -> int:
    """How many lanes carry one sender, each with its share of the people: one up to 1,000 messages a second."""
    return max(1, -(-int(pace) // int(A_LANE)))


def lanes(paces: list[float], cores: int) -> int:
    """How many processes carry these senders: one up to 1,000 messages a second in all, never more than cores."""
    return max(1, min(cores, -(-int(sum(paces)) // int(A_LANE))))
