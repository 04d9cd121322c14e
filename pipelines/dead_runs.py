"""Dead runs: whose process is gone, and of whom Dagster thinks that they are at work.

What belongs here: ending them in Dagster's books, so that they keep no place among the runs that may be at work at
once. Nothing else depends on it: who may act is a lease in the ledger.
"""

import time
from collections.abc import Sequence

import dagster as dg

from resources.alive import alive_runs, forget_dead
from resources.ledger import LEASE_SECONDS, Ledger

PATIENCE = 2 * LEASE_SECONDS
"""Seconds from its start after which a run must have shown a sign of life."""

JOB = "estafette/job"
JOBS = ("one_pass", "dispatch")


def end_dead_runs(ledger: Ledger, instance: dg.DagsterInstance, patience: float = PATIENCE) -> Sequence[str]:
    """End the runs that began `patience` seconds ago and have no process. Gives their ids."""
    at_work = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    records = [
        record
        for job in JOBS
        for record in instance.get_run_records(dg.RunsFilter(statuses=at_work, tags={JOB: job}))
        if time.time() - (record.start_time or record.create_timestamp.timestamp()) >= patience
    ]
    if not records:
        return []
    living = alive_runs(ledger)
    dead = [record.dagster_run for record in records if record.dagster_run.run_id not in living]
    for run in dead:
        instance.report_run_failed(run, "its process is gone; what it did not do, the next run does")
    if dead:
        forget_dead(ledger)
    return [run.run_id for run in dead]
