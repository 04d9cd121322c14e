"""A lane: one asyncio loop that sends one share of one sender's messages at the sender's pace.

What belongs here: the loop. Each 100 ms a turn of the outbox (one commit: outcomes in, next messages stamped) runs on a
thread of its own, because a commit on the loop's thread costs pace; each 5 ms what the pacer allows is posted. What may
go out and what an answer means is `resources.outbox`.

A lane ends when nothing is left to send, at its deadline, when the sender is stopped, when its lease has passed on, or
when it is told to stop: then it posts no more, waits for the answers that are due, and hands back what it had stamped
and not posted, so that a stop leaves nothing unknown.
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
from journey.pacing import Pacer
from journey.problems import LeaseLost
from journey.render import with_callback
from resources.bodies import Bodies
from resources.ledger import LEASE_SECONDS, US, Lease, Ledger
from resources.outbox import Claimed, Outbox, Settled, Turn
from resources.posting import CONNECTIONS, POST_TIMEOUT, Sender

TURN = 0.1
TICK = 0.005
RENEW = LEASE_SECONDS / 3
PATIENCE = 60.0
"""Seconds (wall) that a lane with nothing to claim waits for messages that are to be tried again."""

GIVE_UP = 20
"""Messages in a row that could not even be written to the wire, after which a lane ends and says so."""


@dataclass(frozen=True, slots=True)
class LaneJob:
    """What one lane is to do. `pace`: the sender's configured messages a second; `deadline`: seconds to run at most."""

    sender: str
    phone_number_id: str
    pace: float
    share: int = 0
    shares: int = 1
    deadline: float | None = None


@dataclass
class LaneReport:
    """What a lane did; read by others while it runs (plain counters, written by the lane alone)."""

    sender: str
    posted: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    skipped: int = 0
    ended: str = ""
    reached: bool = True
    codes: dict[int, int] = field(default_factory=dict)


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
        report: LaneReport | None = None,
    ) -> None:
        self.job, self.ledger, self.lease, self.bodies, self.api = job, ledger, lease, bodies, api
        self.prefix, self.now, self.stop = prefix, now, stop
        self.report = report or LaneReport(job.sender)
        self.outbox = Outbox(ledger, lease, job.sender, job.share, job.shares, job.pace)
        self._queue: deque[tuple[Claimed, str]] = deque()
        self._settled: list[Settled] = []
        self._posting: set[asyncio.Task[None]] = set()
        self._fenced = time.monotonic() + LEASE_SECONDS
        self._pacer = Pacer(job.pace / job.shares)
        self._failures = 0
        self._over = False

    def run(self) -> LaneReport:
        """Send until the lane ends; see the module for when."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())
        return self.report

    async def _run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix=f"ledger {self.job.sender}") as commits:
            async with self.api() as api:
                ticking = asyncio.create_task(self._tick(api))
                try:
                    await self._turns(commits)
                finally:
                    self._over = True
                    await ticking
                    await self._drain(commits)

    async def _turns(self, commits: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        started = renewed = time.monotonic()
        idle_since: float | None = None
        while True:
            began = time.monotonic()
            if self.stop.is_set():
                self.report.ended = "stopped"
                return
            if self.job.deadline is not None and began - started > self.job.deadline:
                self.report.ended = "deadline"
                return
            if self._failures >= GIVE_UP:
                self.report.ended, self.report.reached = "the Cloud API can't be reached", False
                return
            if began - renewed > RENEW:
                await loop.run_in_executor(commits, self._renew)
                renewed = began
            want = self._want()
            settled, self._settled = self._settled, []
            try:
                turn, loaded = await loop.run_in_executor(commits, self._turn, settled, want)
            except LeaseLost:
                self._queue.clear()
                self.report.ended = "another process sends for this sender now"
                return
            self._pacer.pace = turn.pace
            self._queue.extend(loaded)
            self.report.skipped += turn.skipped
            if turn.stopped is not None:
                self.report.ended = f"the sender is stopped: {turn.stopped}"
                return
            if want and not turn.claimed and not turn.skipped and not self._queue and not self._posting:
                if not self._settled and not await loop.run_in_executor(commits, self._retry_soon):
                    self.report.ended = self.report.ended or "nothing left to send"
                    return
                idle_since = idle_since or began
                if began - idle_since > PATIENCE:
                    self.report.ended = "what is left must wait"
                    return
            else:
                idle_since = None
            await asyncio.sleep(max(0.0, TURN - (time.monotonic() - began)))

    def _want(self) -> int:
        """How many more to stamp: what the pace allows until after the next turn; never more than the wire holds."""
        pace = self._pacer.pace
        ahead = max(1, round(pace * TURN * 1.5)) - len(self._queue)
        return max(0, min(ahead, CONNECTIONS - len(self._posting) - len(self._queue)))

    def _turn(self, settled: list[Settled], want: int) -> tuple[Turn, list[tuple[Claimed, str]]]:
        """On the commit thread: a turn of the outbox, and the bodies of what it stamped."""
        turn = self.outbox.turn(settled, want, to_us(self.now()), int(self.ledger.wall() * US))
        return turn, [
            (claimed, with_callback(self.bodies.get(claimed.body_file, claimed.body_row), self._callback(claimed)))
            for claimed in turn.claimed
        ]

    def _callback(self, claimed: Claimed) -> str:
        return f"{self.prefix}:{claimed.id}:{claimed.uid}"

    def _renew(self) -> None:
        with contextlib.suppress(LeaseLost):  # the next turn says so and ends the lane
            self.ledger.renew(self.lease)
            self._fenced = time.monotonic() + LEASE_SECONDS

    def _retry_soon(self) -> bool:
        """Whether a message of this share is to be tried again within the lane's patience."""
        wall = int(self.ledger.wall() * US)
        with self.ledger.read() as tx:
            row = tx.exec_driver_sql(
                "SELECT 1 FROM message m JOIN campaign c ON c.name = m.campaign AND c.stopped_at IS NULL AND c.live"
                " LEFT JOIN template_hold h ON h.name = m.template AND h.language = m.language"
                " WHERE m.sender = ? AND m.state = 'planned' AND m.due_at <= ? AND m.share % ? = ? AND h.name IS NULL"
                " AND m.not_before > ? AND m.not_before <= ? LIMIT 1",
                (
                    self.job.sender,
                    to_us(self.now()),
                    self.job.shares,
                    self.job.share,
                    wall,
                    wall + int(PATIENCE * US),
                ),
            ).one_or_none()
        return row is not None

    async def _tick(self, api: Sender) -> None:
        """Post what the pacer allows, until the lane is over."""
        while not self._over:
            if self.stop.is_set():
                return
            # A POST begins only while more of the lease is left than the POST may take.
            if self._queue and time.monotonic() + POST_TIMEOUT < self._fenced:
                for _ in range(self._pacer.allow(time.monotonic(), len(self._queue))):
                    claimed, body = self._queue.popleft()
                    task = asyncio.create_task(self._post(api, claimed, body))
                    self._posting.add(task)
                    task.add_done_callback(self._posting.discard)
            await asyncio.sleep(TICK)

    async def _post(self, api: Sender, claimed: Claimed, body: str) -> None:
        self.report.posted += 1
        try:
            outcome = await api.post(self.job.phone_number_id, body)
        except asyncio.CancelledError:
            outcome = Outcome(Action.unknown, title="No answer", details="The lane was cancelled.")
        self._settled.append(Settled(claimed.id, outcome))
        self._failures = self._failures + 1 if outcome.action is Action.not_sent else 0
        if outcome.action is Action.accepted:
            self.report.accepted += 1
        elif outcome.action is Action.unknown:
            self.report.unknown += 1
        elif outcome.code is not None:
            self.report.refused += 1
            self.report.codes[outcome.code] = self.report.codes.get(outcome.code, 0) + 1

    async def _drain(self, commits: ThreadPoolExecutor) -> None:
        """Wait for the answers that are due, then write them and hand back what was not posted."""
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=POST_TIMEOUT + 1)
        settled = [*self._settled, *(Settled(claimed.id, None) for claimed, _ in self._queue)]
        self._queue.clear()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(LeaseLost):  # then they are unknown, as after a crash
            await loop.run_in_executor(commits, self._turn, settled, 0)
