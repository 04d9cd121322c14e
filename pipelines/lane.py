"""A lane: one asyncio loop that sends one share of one sender's messages at the sender's pace.

What belongs here: the loop. Each 100 ms a turn of the outbox (one commit: outcomes in, next messages stamped) runs on a
thread of its own, because a commit on the loop's thread costs pace; each 2.5 ms what the pacer allows is posted, and
counts for it from the moment at which it is written to the wire. What may go out and what an answer means is
`resources.outbox`.

A lane ends when nothing is left to send, at its deadline, when the sender is stopped, when its pace was changed so that
another number of lanes carries it, when the Cloud API stays out of reach or takes nothing for a minute, when its lease
has passed on or has run out while the process slept, or when it is told to stop: then it posts no more, waits for the
answers that are due, and hands back what it had stamped and not posted, so that a stop leaves nothing unknown.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import uvloop

from journey.clock import to_us
from journey.codes import Action
from journey.outcome import Outcome
from journey.pacing import LATE, WINDOW, Leave, Pacer, shares
from journey.problems import LeaseLost, LedgerError
from journey.render import with_callback
from resources.bodies import Bodies
from resources.claim import Claimed, retry_within
from resources.ledger import LEASE_SECONDS, US, Lease, Ledger
from resources.outbox import Outbox, Settled, Turn
from resources.posting import CONNECTIONS, POST_TIMEOUT, Sender
from resources.unswept import unswept

TURN = 0.1
TICK = 0.0025
RENEW = LEASE_SECONDS / 3
PATIENCE = 60.0
"""Seconds (wall) that a lane with nothing to claim waits for messages that are to be tried again."""

GIVE_UP = 10.0
"""Seconds in which not one message could be written to the wire, after which a lane ends and says so."""

SLOWED = 60.0
"""Seconds in which Meta answered every message with a wish for slower ones (130429), after which a lane ends: whoever
waits for it goes on, and the next lane tries again. While a clock stands still no message expires."""

PROBE = 0.5
"""Seconds between two messages while none can be written to the wire: a server that restarts is met again soon."""


@dataclass(frozen=True, slots=True)
class LaneJob:
    """What one lane is to do. `pace`: the sender's configured messages a second (a change reaches the lane at its next
    turn); `deadline`: seconds to run at most; `linger`: seconds to go on looking for messages after the last."""

    sender: str
    phone_number_id: str
    pace: float
    share: int = 0
    shares: int = 1
    deadline: float | None = None
    linger: float = 0.0


@dataclass
class LaneReport:
    """What a lane did; read by others while it runs (plain counters, written by the lane alone). `ended` says why it
    ended; `reached` is False where that was because the Cloud API could not be reached, for `failure`; `slowed` is True
    where it was because Meta took nothing for a while."""

    sender: str
    posted: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    skipped: int = 0
    ended: str = ""
    reached: bool = True
    slowed: bool = False
    failure: str = ""
    stopped: str | None = None
    codes: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = {name: getattr(self, name) for name in ("accepted", "refused", "unknown", "skipped")}
        told = ", ".join([f"{self.posted} posted", *[f"{number} {name}" for name, number in counts.items() if number]])
        codes = ", ".join(f"{code} × {number}" for code, number in sorted(self.codes.items()))
        ended = f"; ended: {self.ended}" if self.ended else ""
        return f"{self.sender}: {told}{f' (codes {codes})' if codes else ''}{ended}"


class Lane:
    """One lane at work. `run` is synchronous and may be called on any thread; `stop` is set from outside."""

    def __init__(
        self,
        job: LaneJob,
        ledger: Ledger,
        lease: Lease,
        bodies: Bodies,
        api: Callable[[], Sender],
        prefix: str,
        now: Callable[[], datetime],
        stop: threading.Event,
        note: Callable[[int], None],
    ) -> None:
        self.job, self.ledger, self.lease, self.bodies, self.api = job, ledger, lease, bodies, api
        self.prefix, self.now, self.stop, self.note = prefix, now, stop, note
        self.report = LaneReport(job.sender)
        self.outbox = Outbox(ledger, lease, job.sender, job.share, job.shares, job.pace)
        self._queue: deque[tuple[Claimed, str]] = deque()
        self._settled: list[Settled] = []
        self._posting: set[asyncio.Task[None]] = set()
        self._fence: tuple[float, float] | None = None  # when the lease ends: (monotonic, wall)
        self._pacer = Pacer(job.pace / job.shares)
        self._failing_since: float | None = None
        self._slowed_since: float | None = None
        self._failure = ""
        self._probed = self._posted_at = 0.0
        self._over = False
        self.idle = False
        """Whether it has nothing to do at this moment, and waits."""

    def run(self) -> LaneReport:
        """Send until the lane ends, then give its lease back; see the module for when."""
        try:
            with unswept(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        finally:
            # Whoever sends next starts with an empty window of its own: it waits until ours is empty too.
            self.ledger.release(self.lease, after=self._posted_at + WINDOW + LATE - time.monotonic())
        return self.report

    async def _run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix=f"ledger {self.job.sender}") as commits:
            async with self.api() as api:
                ticking = asyncio.create_task(self._tick(api))
                try:
                    self.report.ended = await self._turns(commits)
                finally:
                    self._over = True
                    await ticking
                    await self._drain(commits)

    async def _turns(self, commits: ThreadPoolExecutor) -> str:
        """A turn each 100 ms until the lane ends. Gives why it ended."""
        loop = asyncio.get_running_loop()
        started = idle_since = time.monotonic()
        renewed = -RENEW
        try:
            while True:
                began = time.monotonic()
                ended = self._ended(began - started)
                if ended is not None:
                    return ended
                if began - renewed > RENEW:
                    await loop.run_in_executor(commits, self._renew)
                    renewed = began
                want = self._want(began)
                turn = await self._commit(commits, want)
                self._pacer.pace = turn.pace
                if shares(turn.ceiling) != self.job.shares:
                    return "its pace was changed, other lanes go on"
                self.report.skipped += turn.skipped
                if turn.stopped is not None:
                    self.report.stopped = turn.stopped
                    return f"the sender is stopped: {turn.stopped}"
                self.idle = bool(want) and not (
                    turn.claimed or turn.skipped or self._queue or self._posting or self._settled
                )
                if not self.idle:
                    idle_since = time.monotonic()
                elif began - idle_since < self.job.linger:
                    pass
                elif not await loop.run_in_executor(commits, self._retry_soon):
                    return "nothing left to send"
                await asyncio.sleep(max(0.0, TURN - (time.monotonic() - began)))
        except LeaseLost:
            self._queue.clear()
            return "another process sends for this sender now"

    def _ended(self, ran: float) -> str | None:
        """Why the lane ends before its next turn; `ran`: seconds that it has run."""
        if self.stop.is_set():
            return "stopped"
        if self.job.deadline is not None and ran > self.job.deadline:
            return "its time is over, the next lane goes on"
        if self._failing_since is not None and time.monotonic() - self._failing_since > GIVE_UP:
            self.report.reached, self.report.failure = False, self._failure
            return f"the Cloud API can't be reached ({self._failure})"
        if self._slowed_since is not None and time.monotonic() - self._slowed_since > SLOWED:
            self.report.slowed = True
            return f"Meta has taken nothing for {SLOWED:.0f} seconds and asks for slower sending (130429)"
        if self._fence is not None and self._left() <= 0:
            return "its lease ran out while the process slept"
        return None

    def _want(self, at: float) -> int:
        """How many more to stamp: what the pace allows until after the next turn; never more than the wire holds."""
        if self._failing_since is not None:
            if self._queue or self._posting or at - self._probed < PROBE:
                return 0
            self._probed = at
            return 1
        pace = self._pacer.pace
        ahead = max(1, round(pace * TURN * 2)) - len(self._queue)
        return max(0, min(ahead, CONNECTIONS - len(self._posting) - len(self._queue)))

    async def _commit(self, commits: ThreadPoolExecutor, want: int) -> Turn:
        """One turn on the commit thread: what was settled goes in, what was stamped comes into the queue."""
        settled, self._settled = self._settled, []
        try:
            turn, loaded = await asyncio.get_running_loop().run_in_executor(commits, self._turn, settled, want)
        except LeaseLost:
            raise
        except BaseException:  # the drain writes them once more; writing an outcome twice changes nothing
            self._settled = settled + self._settled
            raise
        self._queue.extend(loaded)
        return turn

    def _turn(self, settled: list[Settled], want: int) -> tuple[Turn, list[tuple[Claimed, str]]]:
        """On the commit thread: a turn of the outbox, and the bodies of what it stamped."""
        turn = self.outbox.turn(settled, want, to_us(self.now()), int(self.ledger.wall() * US))
        if turn.mark is not None:
            self.note(turn.mark)
        try:
            return turn, [(claimed, self._body(claimed)) for claimed in turn.claimed]
        except Exception as error:
            back = [Settled(claimed.id, None) for claimed in turn.claimed]
            self.outbox.turn(back, 0, to_us(self.now()), int(self.ledger.wall() * US))
            raise LedgerError(
                f"the texts of planned messages can't be read: {error}",
                where="data/lake/bodies",
                mend="`estafette rebuild` has them written again; what could not be sent stays planned",
            ) from error

    def _body(self, claimed: Claimed) -> str:
        body = self.bodies.get(claimed.body_file, claimed.body_row)
        return with_callback(body, f"{self.prefix}:{claimed.id}:{claimed.uid}")

    def _renew(self) -> None:
        # The end of the lease counts from before it is written: the process may sleep at any moment.
        fence = (time.monotonic() + LEASE_SECONDS, self.ledger.wall() + LEASE_SECONDS)
        self.ledger.renew(self.lease)
        self._fence = fence

    def _left(self) -> float:
        """Seconds that the lease lasts: by the wall, as others see it, and by a clock that nobody can set."""
        if self._fence is None:
            return 0.0
        return min(self._fence[0] - time.monotonic(), self._fence[1] - self.ledger.wall())

    def _retry_soon(self) -> bool:
        """Whether a message of this share is to be tried again within the lane's patience."""
        job, until = self.job, int((self.ledger.wall() + PATIENCE) * US)
        return retry_within(self.ledger, job.sender, job.share, job.shares, to_us(self.now()), until)

    async def _tick(self, api: Sender) -> None:
        """Post what the pacer allows, until the lane is over."""
        while not self._over and not self.stop.is_set():
            if self._queue and self._may_post():
                allowed = self._pacer.allow(time.monotonic(), len(self._queue))
                for _ in range(allowed):
                    claimed, body = self._queue.popleft()
                    task = asyncio.create_task(self._post(api, claimed, body))
                    self._posting.add(task)
                    task.add_done_callback(self._posting.discard)
            await asyncio.sleep(TICK)

    def _may_post(self) -> bool:
        """A POST begins only while more of the lease is left than the POST may take."""
        return self._left() > POST_TIMEOUT

    async def _post(self, api: Sender, claimed: Claimed, body: str) -> None:
        loop = asyncio.get_running_loop()
        leave: Leave | None = None

        def left() -> None:
            nonlocal leave
            leave = self._pacer.left(time.monotonic())
            # The loop hands what was written to the system at the end of its turn, which is long on a busy machine.
            loop.call_soon(self._gone, leave)
            self.report.posted += 1

        outcome: Outcome | None = None
        try:
            if self._may_post():  # else the process slept between the tick and now
                outcome = await api.post(self.job.phone_number_id, body, left)
        except asyncio.CancelledError:
            outcome = Outcome(Action.unknown, title="No answer", details="The lane was cancelled.")
        finally:
            if leave is None and outcome is not None and outcome.action is not Action.not_sent:
                left()  # a transport that did not say when
            if leave is None:
                self._pacer.withdrawn()
            else:
                self._pacer.answered(leave, time.monotonic())
        self._settled.append(Settled(claimed.id, outcome))
        if outcome is not None:
            self._count(outcome, leave is not None)

    def _gone(self, leave: Leave) -> None:
        leave.at = self._posted_at = time.monotonic()

    def _count(self, outcome: Outcome, left: bool) -> None:
        if outcome.action is Action.not_sent:
            self.report.posted -= left  # turned away: something answered, and it was not the Cloud API
            self._failing_since = self._failing_since or time.monotonic()
            self._failure = outcome.details or outcome.title or ""
            return
        self._failing_since = None
        slowed = outcome.action is Action.slow_down
        self._slowed_since = (self._slowed_since or time.monotonic()) if slowed else None
        if outcome.action is Action.accepted:
            self.report.accepted += 1
        elif outcome.action is Action.unknown:
            self.report.unknown += 1
        else:
            self.report.refused += 1
            if outcome.code is not None:
                self.report.codes[outcome.code] = self.report.codes.get(outcome.code, 0) + 1

    async def _drain(self, commits: ThreadPoolExecutor) -> None:
        """Wait for the answers that are due, then write them and hand back what was not posted."""
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=POST_TIMEOUT + 1)
        self._settled += [Settled(claimed.id, None) for claimed, _ in self._queue]
        self._queue.clear()
        if self._settled:
            with contextlib.suppress(LeaseLost):  # then they are unknown, as after a crash
                await self._commit(commits, 0)
