"""Everything that can be wrong with a campaign before it is launched.

What belongs here: the two questions that the house asks, `check` (what would a person want to know?) and `holes` (what
keeps it from being live?). Rooms of their own look at the parts: `check_entries`, `check_settings`, `check_flow` (the
arrows between steps), `check_steps` (what they wait for, ask and write), `check_message` with `check_template` and
`check_links`, and `check_values` (where values come from). A finding says what is wrong and what to do, for someone who
sees the file for the first time.
"""

from journey.campaign import Campaign
from journey.check_entries import check_entries
from journey.check_flow import check_flow
from journey.check_message import check_messages
from journey.check_settings import check_settings
from journey.check_steps import check_steps
from journey.findings import CheckContext, Findings
from journey.problems import Problem
from journey.source import Source
from journey.spelling import suggest

__all__ = ["CheckContext", "check", "find", "holes"]


def check(campaign: Campaign, source: Source, context: CheckContext) -> list[Problem]:
    """Every finding about a campaign, errors and warnings, by line. `source` is the file it was read from."""
    return find(campaign, source, context).all()


def holes(campaign: Campaign, source: Source, context: CheckContext) -> list[Problem]:
    """The errors that keep a campaign from being live.

    What can mend itself without the file (a template that is not approved) is an error of `check` and no hole: what is
    live goes on and holds its messages.
    """
    return sorted(find(campaign, source, context).holes, key=lambda one: (one.line, one.field))


def find(campaign: Campaign, source: Source, context: CheckContext) -> Findings:
    """`check` and `holes` at once."""
    findings = Findings(source)
    if context.senders is not None and campaign.sender not in context.senders:
        what = f"there is no sender `{campaign.sender}` in estafette.yaml"
        findings.hole(("sender",), what, suggest(campaign.sender, context.senders, none="Add it under `senders`."))
    check_entries(campaign, context, findings)
    check_settings(campaign, context, findings)
    check_flow(campaign, findings)
    check_steps(campaign, context, findings)
    check_messages(campaign, context, findings)
    return findings
