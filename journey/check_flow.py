"""Checks of the way through a campaign: targets that exist, steps that are reached, loops that wait.

What belongs here: whatever can be told from the names of steps and the arrows between them.
"""

from datetime import timedelta

from journey.campaign import Campaign
from journey.clock import show_duration
from journey.findings import Findings
from journey.source import Key
from journey.spelling import suggest
from journey.steps import ELSE, MessageStep
from journey.words import END, SkipReason

LONGEST_READ_WAIT = timedelta(days=7)  # the seed: "jusqu'à 7 jours"


def check_flow(campaign: Campaign, findings: Findings) -> None:
    """Adds the holes of the campaign's steps."""
    targets = {*campaign.steps, END}
    for name, step in campaign.steps.items():
        for key, _, target, _ in step.ways():
            if target not in targets:
                what = f"there is no step `{target}`"
                findings.hole(_written(findings, name, key), what, suggest(target, targets, none="Write `end`."))
        if not isinstance(step, MessageStep):
            continue
        for reason in step.on_skip:
            if reason != ELSE and reason not in set(SkipReason):
                path = ("steps", name, "on_skip", reason)
                findings.hole(path, f"`{reason}` is no reason to skip", suggest(reason, [*SkipReason, ELSE], none=""))
        if step.on_read is not None and step.on_read.within > LONGEST_READ_WAIT:
            what = f"{show_duration(step.on_read.within)} is too long to wait for a read"
            findings.hole(("steps", name, "on_read", "within"), what, "Write at most 7d.")
    _unreached(campaign, findings)
    _restless_loops(campaign, findings)


def _written(findings: Findings, step: str, key: tuple[Key, ...]) -> tuple[Key, ...]:
    """The key as the file has it: `on_skip: reminder` stands for all reasons and has no key `else`."""
    return findings.source.path(("steps", step, *key))


def _unreached(campaign: Campaign, findings: Findings) -> None:
    reached, waiting = {campaign.first_step}, [campaign.first_step]
    while waiting:
        step = campaign.steps[waiting.pop()]
        for _, _, target, _ in step.ways():
            if target in campaign.steps and target not in reached:
                reached.add(target)
                waiting.append(target)
    for name in campaign.steps:
        if name not in reached:
            what = f"no way leads to the step `{name}` from the first step, `{campaign.first_step}`"
            findings.hole(("steps", name), what, "Name it in a `next` or another way on, or remove it.")


def _restless_loops(campaign: Campaign, findings: Findings) -> None:
    """A loop in which nobody ever waits would message people as fast as the sender goes."""
    done: set[str] = set()
    for start in campaign.steps:
        trail: list[str] = []
        _follow(campaign, findings, start, trail, done)


def _follow(campaign: Campaign, findings: Findings, name: str, trail: list[str], done: set[str]) -> None:
    if name in done:
        return
    # An explicit stack: a campaign may have more steps than Python has frames.
    ways = {name: iter([way for way in campaign.steps[name].ways() if not way[3]])}
    trail.append(name)
    while trail:
        step = trail[-1]
        for key, _, target, _ in ways[step]:
            if target in trail:
                loop = " → ".join([*trail[trail.index(target) :], target])
                what = f"this closes a loop in which nobody waits: {loop}"
                mend = "Lead to another step or to end, or wait in the loop with `on_read`."
                findings.hole(_written(findings, step, key), what, mend)
            elif target in campaign.steps and target not in done:
                ways[target] = iter([way for way in campaign.steps[target].ways() if not way[3]])
                trail.append(target)
                break
        else:
            done.add(trail.pop())
