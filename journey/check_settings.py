"""Checks of a campaign's settings: what has nothing to measure, nothing to stop, or is there twice.

What belongs here: whatever the settings say that only makes sense beside the rest of the campaign or of the project.
That they can be read at all is `language_settings`.
"""

from journey.campaign import Campaign
from journey.findings import CheckContext, Findings
from journey.markets import code_of_region, markets_of
from journey.steps import TemplateMessage


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
    _check_cost(campaign, context, findings)
    if settings.stop_if.audience_above is not None and not campaign.audiences():
        what = "`audience_above` has no effect without an audience entry"
        findings.warning(("settings", "stop_if", "audience_above"), what, "Remove it.")


def _check_cost(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """A budget stops nothing where the rate card has no price for what is sent: that is seen only when it is spent."""
    cost, card, path = campaign.settings.stop_if.cost_above, context.rates, ("settings", "stop_if", "cost_above")
    if cost is None or card is None:
        return
    currency = cost[1]
    if currency not in card.currencies:
        known = ", ".join(sorted(card.currencies))
        what = f"the rate card has no rates in {currency}, so that no cost is counted and nothing stops for it"
        mend = f"Write an amount in {known}, or add the rates." if known else "Add the rates, rates/*.csv."
        findings.warning(path, what, mend)
        return
    if context.region is None or context.now is None:
        return
    sent = [step.message for step in campaign.message_steps().values()]
    names = {one.template for one in sent if isinstance(one, TemplateMessage)}
    categories = {one.category for (name, _), one in context.templates.items() if name in names}
    code, day = code_of_region(context.region), context.now.date()
    without = sorted(one for one in categories if card.price(code, one, day, currency) is None)
    if without:
        market = markets_of(code)[0]
        what = (
            f"the rate card has no rate in {currency} for {' and '.join(without)} messages to {market}: they count as"
            " nothing, and nothing stops for what they cost"
        )
        findings.warning(path, what, "Add the rates in force, rates/*.csv; a row of the market `*` is for all others.")
