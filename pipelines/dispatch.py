"""The job `dispatch`: the lanes of every sender with a backlog, spread over a few processes.

What belongs here: which lanes there are, and one op a process of lanes. A Dagster step is a set of lanes and never a
message: a step costs seconds in its own process. A pass sends small amounts itself; this job is for what takes longer
than some seconds. It ends after ten minutes; its successor, asked for a little earlier, waits for the leases: a stop or
a deploy never waits for hours.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import dagster as dg

from assets.metadata import deliveries_event
from journey.pacing import lanes as processes
from pipelines.lane import LaneJob, LaneReport
from pipelines.sending import Progress, Sending, lane_jobs, waiting
from resources.alive import alive
from resources.definitions import HomeResource
from resources.home import Home
from resources.interrupts import signals

RUN_SECONDS = 600.0
WAIT_SECONDS = 90.0
"""Seconds (wall) that a dispatch waits for the leases of its predecessor."""

MAX_RUNTIME = 1800
"""Seconds after which Dagster ends a run that nobody runs any more: its process, or the whole machine, is gone."""


@dg.op(out=dg.DynamicOut(list))
def lanes(context: dg.OpExecutionContext, home: HomeResource) -> Iterator[dg.DynamicOutput[list[dict[str, object]]]]:
    """One output a process: the lanes (sender, share) that it runs."""
    opened = home.open()
    try:
        opened.reload()
        found = waiting(opened)
        jobs = [job for sender in found for job in lane_jobs(opened, sender)]
    finally:
        opened.close()
    for sender, messages in found.items():
        context.log.info(f"{sender}: {messages} messages wait{' (at least)' if messages >= 100_000 else ''}")
    for number, group in enumerate(spread(jobs, os.cpu_count() or 1)):
        yield dg.DynamicOutput([asdict(job) for job in group], mapping_key=f"lanes_{number}")


@dg.op
def send_lanes(
    context: dg.OpExecutionContext, home: HomeResource, jobs: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Run lanes until nothing is left, or the ten minutes are over. Gives a report of each."""
    opened = home.open()
    stop = threading.Event()
    try:
        opened.reload()
        part = context.get_mapping_key() or ""
        with (
            alive(opened.ledger, context.run_id, part),
            signals(stop) as stopped,
            Sending(opened, stop) as sending,
        ):
            progress = Progress(sending)
            _send(context, opened, sending, progress, [LaneJob(**job) for job in jobs], stop)  # type: ignore[arg-type]
        for line in progress.lines(final=True):
            context.log.info(line)
        if stopped.is_set():
            raise dg.DagsterExecutionInterruptedError
        for why in {report.stopped for report in sending.reports if report.stopped}:
            context.log.error(f"the sender is stopped: {why}")
        sending.raise_unreached()
        return [asdict(report) for report in sending.reports]
    finally:
        opened.close()


@dg.op
def sum_up(context: dg.OpExecutionContext, home: HomeResource, reports: list[list[dict[str, object]]]) -> None:
    """What every lane did, in one place."""
    opened = home.open()
    try:
        lanes_done = [LaneReport(**report) for group in reports for report in group]  # type: ignore[arg-type]
        context.log_event(deliveries_event(opened, lanes_done))
    finally:
        opened.close()


@dg.job(
    name="dispatch",
    executor_def=dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["pipelines.definitions"]}}}
    ),
    tags={"estafette/job": "dispatch", "dagster/max_retries": "0", "dagster/max_runtime": str(MAX_RUNTIME)},
    description="Send what is planned, with lanes in processes of their own.",
)
def dispatch() -> None:
    sum_up(lanes().map(send_lanes).collect())


def spread(jobs: Sequence[LaneJob], cores: int) -> list[list[LaneJob]]:
    """Lanes over processes: as few as carry them (1,000 messages a second each), never more than cores; the faster
    lanes first, each to the process with the least to do."""
    if not jobs:
        return []
    groups: list[list[LaneJob]] = [[] for _ in range(processes([_pace(job) for job in jobs], cores))]
    for job in sorted(jobs, key=_pace, reverse=True):
        min(groups, key=lambda group: sum(_pace(one) for one in group)).append(job)
    return groups


def _pace(job: LaneJob) -> float:
    return job.pace / job.shares


def _send(
    context: dg.OpExecutionContext,
    home: Home,
    sending: Sending,
    progress: Progress,
    jobs: Sequence[LaneJob],
    stop: threading.Event,
) -> None:
    """Start each lane as soon as its lease is free, and wait until all have ended."""
    began = time.monotonic()
    missing = list(jobs)
    while not stop.is_set():
        waited = time.monotonic() - began
        missing = [job for job in missing if not sending.launch(replace(job, deadline=RUN_SECONDS - waited))]
        if missing and waited > WAIT_SECONDS:
            for job in missing:
                context.log.info(f"{job.sender} share {job.share} of {job.shares}: another process sends for it")
            missing = []
        for line in progress.lines():
            context.log.info(line)
        if not missing and not sending.busy():
            return
        stop.wait(0.25)
