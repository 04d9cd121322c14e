"""Sending: lanes at work beside the rest of a run, each on a thread with a loop of its own.

What belongs here: which senders have something to send, taking leases, starting and stopping lanes, and what to say of
them. What a lane does is `pipelines.lane`.
"""

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from journey.clock import to_us
from journey.pacing import shares
from journey.problems import CloudApiError
from pipelines.lane import Lane, LaneJob, LaneReport
from resources.claim import backlog
from resources.home import Home
from resources.lease_names import LANES
from resources.ledger import US, holder_name
from resources.outbox import cut_otherwise, lane_name, recover
from resources.sender_trouble import note_reached, note_unreached, unreached

AGAIN = 30.0
"""Seconds until a lane is started again where the last one could not reach the Cloud API, or Meta took nothing."""

PATIENCE = 60.0
"""Seconds (wall) that a backlog left to the job `dispatch` waits for its lanes: some thirty on a busy machine. Where
the daemon that should start it is gone, or its sensor is off, nobody comes."""


def lane_jobs(home: Home, sender: str, *, deadline: float | None = None, linger: float = 0.0) -> list[LaneJob]:
    """The lanes of one sender: one up to 1,000 messages a second, else as many shares as carry its pace."""
    configured = home.project.settings.senders[sender]
    pace = float(configured.messages_per_second)
    number = shares(pace)
    return [
        LaneJob(sender, configured.phone_number_id, pace, share, number, deadline, linger) for share in range(number)
    ]


def waiting(home: Home, names: Iterable[str] | None = None) -> dict[str, int]:
    """How many messages could go out now, by configured sender that is not stopped and has any."""
    known = home.project.settings.senders
    wanted = [name for name in known if names is None or name in names]
    found = backlog(home.ledger, to_us(home.clock()), int(home.wall() * US), wanted)
    return {name: messages for name, messages in found.items() if messages}


def open_lane(home: Home, job: LaneJob, stop: threading.Event) -> Lane | None:
    """A lane with its lease, ready to run; None while someone else sends for this share, or lanes of before a change of
    the pace for any share."""
    lease = home.ledger.take(
        lane_name(job.sender, job.share, job.shares),
        holder_name(),
        note=f"sending for {job.sender}",
        beside=lambda other: not cut_otherwise(other, job.sender, job.shares),
    )
    if lease is None:
        return None
    recover_lost(home)
    return Lane(job, home.ledger, lease, home.bodies, home.poster, home.prefix(), home.clock, stop, home.mark.note)


def recover_lost(home: Home) -> int:
    """What lanes that are gone had stamped becomes unknown. Gives how many messages."""
    return recover(home.ledger, int(home.wall() * US), to_us(home.clock()))


@dataclass
class _Running:
    lane: Lane
    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)


class Sending:
    """Lanes at work. Use as a context: at the end every lane is stopped and its lease given back.

    `reports` holds one report a lane, of those that run too; `elsewhere` the senders with messages whose lane another
    process has; `linger` goes to every lane.
    """

    def __init__(self, home: Home, stop: threading.Event, *, linger: float = 0.0) -> None:
        self.home, self.stop, self.linger = home, stop, linger
        self.reports: list[LaneReport] = []
        self.elsewhere: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._rests_until: dict[str, float] = {}
        self._left_since: dict[str, float] = {}
        with home.ledger.read() as tx:
            self._unreached = set(unreached(tx))

    def __enter__(self) -> "Sending":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def start(self, most: float | None = None) -> int:
        """Start a lane for each sender that has something to send now. Gives how many lanes were started.

        `most`: senders with more than so many seconds of backlog are left to the job `dispatch`, unless that does not
        come.
        """
        self._reap()
        recover_lost(self.home)
        jobs = {
            name: lane_jobs(self.home, name, linger=self.linger)
            for name in self.home.project.settings.senders
            if self._rests_until.get(name, 0.0) <= time.monotonic()
        }
        idle = {name: lanes for name, lanes in jobs.items() if not all(_name(job) in self._running for job in lanes)}
        self.elsewhere = set()
        started = 0
        found = waiting(self.home, idle) if idle else {}
        much = {} if most is None else {name: one for name, one in found.items() if one > most * idle[name][0].pace}
        left = much.keys() - self._forsaken(much)
        for sender in found:
            if sender not in left:
                started += sum(self.launch(job) for job in idle[sender])
        return started

    def _forsaken(self, much: Collection[str]) -> set[str]:
        """Those of these senders that were left to a dispatch for long, while nobody sent for them."""
        now = time.monotonic()
        held = [lease.name for lease in self.home.ledger.leases()] if much else []
        alone = [name for name in much if not any(lease.startswith(f"{LANES}{name}:") for lease in held)]
        self._left_since = {name: self._left_since.get(name, now) for name in alone}
        return {name for name, since in self._left_since.items() if now - since > PATIENCE}

    def launch(self, job: LaneJob) -> bool:
        """Start one lane; False where it runs already, or its share is another process's."""
        if _name(job) in self._running or self.stop.is_set():
            return False
        lane = open_lane(self.home, job, self.stop)
        if lane is None:
            self.elsewhere.add(job.sender)
            return False
        self._start(_name(job), lane)
        return True

    def busy(self) -> bool:
        """Whether a lane is at work."""
        self._reap()
        return bool(self._running)

    def working(self) -> bool:
        """Whether a lane has something to do at this moment, and is not only waiting for more."""
        self._reap()
        return any(not running.lane.idle for running in self._running.values())

    def others(self) -> bool:
        """Whether a lane of another process is at work."""
        names = {lease.name for lease in self.home.ledger.leases() if lease.name.startswith(LANES)}
        return bool(names - self._running.keys())

    def join(self) -> None:
        """Wait until every lane has ended."""
        for running in list(self._running.values()):
            running.thread.join()
        self._reap()

    def raise_unreached(self) -> None:
        """CloudApiError where a lane gave up because the Cloud API could not be reached."""
        failed = [report for report in self.reports if not report.reached]
        if failed:
            raise CloudApiError(
                f"nothing was sent for {', '.join(sorted({r.sender for r in failed}))}: {failed[-1].ended}"
                if not any(r.posted for r in failed)
                else f"sending for {', '.join(sorted({r.sender for r in failed}))} broke off: {failed[-1].ended}",
                where=self.home.secrets.api_url,
                mend="Check WHATSAPP_API_URL and the way there; what was not sent stays planned for the next pass",
            )

    def _start(self, name: str, lane: Lane) -> None:
        errors: list[BaseException] = []

        def work() -> None:
            try:
                lane.run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(name=name, target=work, daemon=True)
        self._running[name] = _Running(lane, thread, errors)
        self.reports.append(lane.report)
        thread.start()

    def _reap(self) -> None:
        over = {name: running for name, running in self._running.items() if not running.thread.is_alive()}
        for name, running in over.items():
            del self._running[name]
            if not running.lane.report.reached or running.lane.report.slowed:
                self._rests_until[running.lane.job.sender] = time.monotonic() + AGAIN
        self._note(over.values())
        for running in over.values():
            if running.error:
                raise running.error[0]

    def _note(self, over: Collection[_Running]) -> None:
        """Write down where Meta can't be reached, and where it answers again."""
        failed = {running.lane.job.sender: running.lane.report for running in over if not running.lane.report.reached}
        reports = [running.lane.report for running in (*self._running.values(), *over)]
        answered = {one.sender for one in reports if one.reached and (one.accepted or one.refused)}
        well = (answered & self._unreached) - failed.keys()
        if not failed and not well:
            return
        with self.home.ledger.write() as tx:
            for name, report in failed.items():
                note_unreached(tx, name, int(self.home.wall() * US), report.failure)
            for name in well:
                note_reached(tx, name)
        self._unreached = (self._unreached | failed.keys()) - well


class Progress:
    """Lines about lanes for a run's log: at most one each `every` seconds, and only where something changed."""

    def __init__(self, sending: Sending, every: float = 5.0) -> None:
        self.sending, self.every = sending, every
        self._at = time.monotonic()
        self._told: list[str] = []

    def lines(self, *, final: bool = False) -> list[str]:
        """What there is to say now; `final`: all that was not said yet, however early."""
        if not final and time.monotonic() - self._at < self.every:
            return []
        self._at = time.monotonic()
        now = [str(report) for report in self.sending.reports]
        new = [line for line in now if line not in self._told]
        self._told = now
        return new


def _name(job: LaneJob) -> str:
    return lane_name(job.sender, job.share, job.shares)
