"""Checks of a campaign's settings: what has nothing to measure, nothing to stop, or is there twice.

What belongs here: whatever the settings say that only makes sense beside the rest of the campaign or of the project.
That they can be read at all is `language_settings`.
"""

from journey.campaign import Campaign
from journey.findings import CheckContext, Findings


def check_settings(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """Adds the findings about the settings."""
    settings = campaign.settings
    if settings.control_group and not settings.goals:
        what = "the control group has no goal by which it could be compared"
        findings.warning(("settings", "control_group"), what, "Add `goals`, e.g. [{event: purchase, within: 30d}].")
    for number, goal in enumerate(settings.goals):
        path = ("settings", "goals", number)
        before = settings.goals[:number]
        if any((one.event, one.where, one.within) == (goal.event, goal.where, goal.within) for one in before):
            findings.warning(path, f"this goal on `{goal.event}` is there twice", "Keep one of the two.")
    for number, match in enumerate(settings.exit_on):
        if match in settings.exit_on[:number]:
            path = ("settings", "exit_on", number)
            findings.warning(path, f"the event `{match.event}` is there twice", "Keep one of the two.")
    cost, currencies = settings.stop_if.cost_above, context.currencies
    if cost is not None and currencies is not None and cost[1] not in currencies:
        known = ", ".join(sorted(currencies))
        what = f"the rate card has no rates in {cost[1]}, so that no cost is counted and nothing stops for it"
        mend = f"Write an amount in {known}, or add the rates." if known else "Add the rates, rates/*.csv."
        findings.warning(("settings", "stop_if", "cost_above"), what, mend)
    if settings.stop_if.audience_above is not None and not campaign.audiences():
        what = "`audience_above` has no effect without an audience entry"
        findings.warning(("settings", "stop_if", "audience_above"), what, "Remove it.")
