"""The schedule: a pass a minute, so that what only time brings (schedules, waits, expiry) is never forgotten.

What belongs here: Dagster's schedules. They only ask for a pass; an occurrence of a campaign's own schedule is a row in
the ledger, made by the pass.
"""

import dagster as dg

from pipelines.sensors import ACTIVE, PASS_CONFIG


@dg.schedule(
    job_name="one_pass",
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A pass a minute, unless one is on its way or at work.",
)
def every_minute(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A pass, unless there is one."""
    statuses = [*ACTIVE, dg.DagsterRunStatus.STARTED]
    if context.instance.get_runs_count(dg.RunsFilter(job_name="one_pass", statuses=statuses)):
        return dg.SkipReason("a pass is at work or on its way")
    return dg.RunRequest(run_config=PASS_CONFIG)
