"""The schedule: a pass a minute, so that what only time brings (schedules, waits, expiry) is never forgotten.

What belongs here: Dagster's schedules. They only ask for a pass; an occurrence of a campaign's own schedule is a row in
the ledger, made by the pass.
"""

import dagster as dg

from pipelines.sensors import PASS_CONFIG, Due, held_and_waiting, wants_pass
from resources.definitions import HomeResource


@dg.schedule(
    job_name="one_pass",
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A pass a minute, unless one is on its way or at work.",
)
def every_minute(context: dg.ScheduleEvaluationContext, home: HomeResource) -> dg.RunRequest | dg.SkipReason:
    """A pass, unless there is one. The lease says so: a run whose process is gone may look alive for an hour."""
    opened = home.open()
    try:
        held, waiting = held_and_waiting(opened, context.instance)
    finally:
        opened.close()
    why_not = wants_pass(Due(occurrences=1), lease_held=held, waiting_runs=waiting)
    return dg.SkipReason(why_not) if why_not is not None else dg.RunRequest(run_config=PASS_CONFIG)
