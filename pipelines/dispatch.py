"""The job `dispatch`: the lanes of every sender with a backlog, fanned out, each in a process of its own.

What belongs here: which lanes there are, and one op a lane. A Dagster step is a lane and never a message: a step costs
seconds in its own process. A pass sends small amounts itself; this job is for what takes longer than some seconds. It
ends after ten minutes and its successor waits for the leases, so that a stop or a deploy never waits for hours.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from assets.metadata import deliveries_event
from journey.clock import to_us
from pipelines.jobs import signals
from pipelines.lane import LaneJob, LaneReport
from pipelines.sending import lane_jobs, open_lane
from resources.definitions import HomeResource
from resources.home import Home
from resources.ledger import US
from resources.outbox import backlog, recover

RUN_SECONDS = 600.0
WAIT_SECONDS = 60.0


@dg.op(out=dg.DynamicOut(dict))
def lanes(context: dg.OpExecutionContext, home: HomeResource) -> Iterator[dg.DynamicOutput[dict[str, object]]]:
    """One output a lane: (sender, share) of every sender that has something to send."""
    opened = home.open()
    try:
        opened.reload()
        waiting = backlog(opened.ledger, to_us(opened.clock()))
        for sender, messages in waiting.items():
            if not messages or sender not in opened.project.settings.senders:
                continue
            context.log.info(f"{sender}: {messages} messages wait")
            for job in lane_jobs(opened, sender, RUN_SECONDS):
                yield dg.DynamicOutput(
                    {"sender": job.sender, "share": job.share}, mapping_key=f"{_key(job.sender)}_{job.share}"
                )
    finally:
        opened.close()


@dg.op
def send_lane(context: dg.OpExecutionContext, home: HomeResource, lane: dict[str, object]) -> dict[str, object]:
    """Send one lane's share until nothing is left, or the ten minutes are over."""
    opened = home.open()
    stop = threading.Event()
    try:
        opened.reload()
        job = lane_jobs(opened, str(lane["sender"]), RUN_SECONDS)[int(str(lane["share"]))]
        recover(opened.ledger, int(opened.wall() * US), to_us(opened.clock()))
        with signals(stop) as stopped:
            report = _run(context, opened, job, stop)
        if stopped.is_set():
            raise dg.DagsterExecutionInterruptedError
        return {} if report is None else asdict(report)
    finally:
        opened.close()


@dg.op
def sum_up(context: dg.OpExecutionContext, home: HomeResource, reports: list[dict[str, object]]) -> None:
    """What every lane did, in one place."""
    opened = home.open()
    try:
        context.log_event(deliveries_event(opened, [LaneReport(**report) for report in reports if report]))  # type: ignore[arg-type]
    finally:
        opened.close()


@dg.job(
    name="dispatch",
    executor_def=dg.multiprocess_executor.configured(
        {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": ["pipelines.lane"]}}}
    ),
    tags={"estafette/job": "dispatch", "dagster/max_retries": "0"},
    description="Send what is planned, a lane a process.",
)
def dispatch() -> None:
    sum_up(lanes().map(send_lane).collect())


def _run(context: dg.OpExecutionContext, home: Home, job: LaneJob, stop: threading.Event) -> LaneReport | None:
    """Run a lane as soon as its lease is free; None where someone else keeps it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not stop.is_set():
        lane = open_lane(home, job, stop)
        if lane is not None:
            try:
                return lane.run()
            finally:
                home.ledger.release(lane.lease)
                context.log.info(f"{job.sender} share {job.share} of {job.shares}: {lane.report}")
        if time.monotonic() > deadline:
            context.log.info(f"{job.sender} share {job.share} of {job.shares}: another process sends for it")
            return None
        time.sleep(0.25)
    return None


def _key(sender: str) -> str:
    """A mapping key takes letters, digits and _ only; the sender's place keeps two of them apart."""
    return "".join(char if char.isascii() and char.isalnum() else f"_{ord(char):x}_" for char in sender)
