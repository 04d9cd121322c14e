"""Pacing: how many messages may leave now, so that no sliding second ever holds more than the pace.

What belongs here: the window and the rule that slows a sender down and lets it recover. Pure: times come in as seconds
of a clock that never goes back (wall), and nothing sleeps.
"""

from collections import deque

MARGIN = 1.025
"""The window is this much longer than a second: what leaves here evenly reaches the other side with jitter, and up to
25 ms of it keep the receiver's own sliding second at or under the pace. It costs 2.4 % of the pace."""

SLOWER = 0.5
FASTER = 0.05
RECOVER_SECONDS = 5.0
FLOOR = 1.0

A_LANE = 700.0
"""Messages a second that one lane (one loop, one core) carries with TLS and room to spare."""


class Pacer:
    """A sliding log of the last sends. `pace` is messages a second; it may change between two calls."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self._log: deque[float] = deque()
        self._credit = 0.0
        self._last: float | None = None

    def allow(self, now: float, waiting: int) -> int:
        """How many of `waiting` messages may leave at `now`. What is allowed is counted as sent.

        Two bounds at once: the sliding window (never more than the pace in MARGIN seconds) and an even flow, so that a
        pace of 1,000 is five each 5 ms and not a burst of 1,000.
        """
        window = MARGIN if self.pace >= 1 else MARGIN / self.pace
        while self._log and self._log[0] <= now - window:
            self._log.popleft()
        room = max(1, int(self.pace)) - len(self._log)
        elapsed = 0.0 if self._last is None else max(0.0, now - self._last)
        self._last = now
        burst = max(1.0, self.pace * 0.05)
        self._credit = min(burst, self._credit + elapsed * self.pace)
        allowed = max(0, min(room, waiting, int(self._credit) if self._log else max(1, int(self._credit))))
        self._credit = max(0.0, self._credit - allowed)
        self._log.extend([now] * allowed)
        return allowed

    def left(self, count: int, at: float) -> None:
        """The last `count` that were allowed left only at `at`: a busy machine may stall between the two."""
        for place in range(1, min(count, len(self._log)) + 1):
            self._log[-place] = at


def slower(pace: float) -> float:
    """The pace after Meta said that it was too fast (130429 and its like)."""
    return max(FLOOR, pace * SLOWER)


def faster(pace: float, ceiling: float, seconds_since_slowed: float) -> float:
    """The pace `seconds_since_slowed` after the last slow-down: a twentieth of the ceiling more each five seconds."""
    steps = int(seconds_since_slowed / RECOVER_SECONDS)
    return min(ceiling, pace + steps * FASTER * ceiling)


def lanes(paces: list[float], cores: int) -> int:
    """How many lanes carry these senders: one up to 700 messages a second in all, never more than cores."""
    return max(1, min(cores, -(-int(sum(paces)) // int(A_LANE))))
