"""Sending: lanes at work beside the rest of a pass, each on a thread with a loop of its own.

What belongs here: which senders have something to send, taking and giving back their leases, starting and stopping
lanes. What a lane does is `pipelines.lane`.
"""

import threading
from dataclasses import dataclass, field

from journey.clock import to_us
from journey.pacing import A_LANE
from pipelines.lane import Lane, LaneJob, LaneReport
from resources.home import Home
from resources.ledger import US, Lease, holder_name
from resources.outbox import backlog, lane_name, recover


def lane_jobs(home: Home, sender: str, deadline: float | None = None) -> list[LaneJob]:
    """The lanes of one sender: one up to 700 messages a second, else as many shares as carry its pace."""
    configured = home.project.settings.senders[sender]
    pace = float(configured.messages_per_second)
    shares = max(1, -(-int(pace) // int(A_LANE)))
    return [LaneJob(sender, configured.phone_number_id, pace, share, shares, deadline) for share in range(shares)]


def open_lane(home: Home, job: LaneJob, stop: threading.Event, report: LaneReport | None = None) -> Lane | None:
    """A lane with its lease, ready to run; None while someone else sends for this share."""
    lease = home.ledger.take(
        lane_name(job.sender, job.share, job.shares), holder_name(), note=f"sending for {job.sender}"
    )
    if lease is None:
        return None
    return Lane(job, home.ledger, lease, home.bodies, home.poster, home.prefix(), home.clock, stop, report)


@dataclass
class _Running:
    lane: Lane
    lease: Lease
    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)


class Sending:
    """The lanes of one pass. Use as a context: at the end every lane is stopped and its lease given back."""

    def __init__(self, home: Home, stop: threading.Event) -> None:
        self.home, self.stop = home, stop
        self.reports: list[LaneReport] = []
        self.elsewhere: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._given_up: set[str] = set()

    def __enter__(self) -> "Sending":
        recover(self.home.ledger, int(self.home.wall() * US), to_us(self.home.clock()))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def start(self, most: float | None = None) -> int:
        """Start a lane for each sender that has something to send now. Gives how many lanes were started.

        `most`: senders with more than so many seconds of backlog are left to the job `dispatch`.
        """
        started = 0
        self._reap()
        for sender, waiting in backlog(self.home.ledger, to_us(self.home.clock())).items():
            if not waiting or sender in self._given_up or sender not in self.home.project.settings.senders:
                continue
            jobs = lane_jobs(self.home, sender)
            if most is not None and waiting > most * jobs[0].pace:
                continue
            for job in jobs:
                name = lane_name(job.sender, job.share, job.shares)
                if name in self._running or self.stop.is_set():
                    continue
                lane = open_lane(self.home, job, self.stop)
                if lane is None:
                    self.elsewhere.add(sender)
                    continue
                self.elsewhere.discard(sender)
                self._start(name, lane)
                started += 1
        return started

    def _start(self, name: str, lane: Lane) -> None:
        running = _Running(lane, lane.lease, threading.Thread(name=name, target=lambda: None))

        def work() -> None:
            try:
                lane.run()
            except BaseException as error:
                running.error.append(error)
            finally:
                self.home.ledger.release(lane.lease)

        running.thread = threading.Thread(name=name, target=work, daemon=True)
        self._running[name] = running
        self.reports.append(lane.report)
        running.thread.start()

    def busy(self) -> bool:
        """Whether a lane is at work."""
        self._reap()
        return bool(self._running)

    def join(self) -> None:
        """Wait until every lane has ended."""
        for running in list(self._running.values()):
            running.thread.join()
        self._reap()

    def _reap(self) -> None:
        for name, running in list(self._running.items()):
            if running.thread.is_alive():
                continue
            del self._running[name]
            report = running.lane.report
            if not report.reached or report.ended == "what is left must wait" or report.ended.startswith("the sender"):
                self._given_up.add(report.sender)
            if running.error:
                raise running.error[0]
