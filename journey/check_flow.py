"""Checks of the way through a campaign: targets that exist, steps that are reached, loops that wait.

What belongs here: whatever can be told from the names of steps and the arrows between them.
"""

from collections.abc import Collection, Iterator, Mapping

from journey.campaign import Campaign
from journey.findings import Findings
from journey.source import Key
from journey.spelling import suggest
from journey.steps import ELSE, MessageStep
from journey.words import END, SkipReason

#: So many sets of steps are tried in the search for loops of conditional waits; real campaigns need a handful.
MOST_TRIED = 300

#: A way on which nobody waits: its key in the step, its target.
_Arrow = tuple[tuple[Key, ...], str]


def check_flow(campaign: Campaign, findings: Findings) -> None:
    """Adds the holes of the campaign's steps."""
    targets = {*campaign.steps, END}
    for name, step in campaign.steps.items():
        for key, _, target, _ in step.ways():
            if target not in targets:
                what = f"there is no step `{target}`"
                findings.hole(_written(findings, name, key), what, suggest(target, targets, none="Write `end`."))
        if isinstance(step, MessageStep):
            for reason in step.on_skip:
                if reason != ELSE and reason not in set(SkipReason):
                    path = ("steps", name, "on_skip", reason)
                    mend = suggest(reason, [*SkipReason, ELSE], none="")
                    findings.hole(path, f"`{reason}` is no reason to skip", mend)
    _unreached(campaign, findings)
    _restless_loops(campaign, findings)


def reached_from(campaign: Campaign, start: str) -> set[str]:
    """The steps to which some way leads from a step; itself only where a loop does."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for _, _, target, _ in campaign.steps[waiting.pop()].ways():
            if target in campaign.steps and target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def _written(findings: Findings, step: str, key: tuple[Key, ...]) -> tuple[Key, ...]:
    """The key as the file has it: `on_skip: reminder` stands for all reasons and has no key `else`."""
    return findings.source.path(("steps", step, *key))


def _unreached(campaign: Campaign, findings: Findings) -> None:
    reached = {campaign.first_step, *reached_from(campaign, campaign.first_step)}
    for name in campaign.steps:
        if name not in reached:
            what = f"no way leads to the step `{name}` from the first step, `{campaign.first_step}`"
            findings.hole(("steps", name), what, "Name it in a `next` or another way on, or remove it.")


# -- loops -----------------------------------------------------------------------------------------------------------


def _restless_loops(campaign: Campaign, findings: Findings) -> None:
    """A loop in which nobody ever waits would message people as fast as the sender goes.

    A wait for news of a message waits only in loops that send this message again. So loops are looked for first among
    all steps, with the ways that never wait; then without one message step and with the ways that wait for it, and so
    on: what is found without the step does not lead through it.
    """
    messages = {waits for step in campaign.steps.values() for *_, waits in step.ways() if isinstance(waits, str)} & set(
        campaign.steps
    )
    tried: set[frozenset[str]] = set()
    waiting = [frozenset[str]()]
    while waiting and len(tried) < MOST_TRIED:
        without = waiting.pop(0)
        if without in tried:
            continue
        tried.add(without)
        if list(_loops(campaign, findings, without)):
            return
        waiting += [without | {message} for message in sorted(messages - without)]


def _loops(campaign: Campaign, findings: Findings, without: Collection[str]) -> Iterator[str]:
    """Adds a hole for each arrow that closes a loop without these steps; gives its target."""
    arrows = {name: _arrows(campaign, name, without) for name in campaign.steps if name not in without}
    done: set[str] = set()
    for start in arrows:
        yield from _follow(findings, start, arrows, done)


def _arrows(campaign: Campaign, name: str, without: Collection[str]) -> list[_Arrow]:
    return [
        (key, target)
        for key, _, target, waits in campaign.steps[name].ways()
        if target in campaign.steps and target not in without and (not waits or waits in without)
    ]


def _follow(findings: Findings, name: str, arrows: Mapping[str, list[_Arrow]], done: set[str]) -> Iterator[str]:
    if name in done:
        return
    # An explicit stack: a campaign may have more steps than Python has frames.
    trail, ways = [name], {name: iter(arrows[name])}
    while trail:
        step = trail[-1]
        for key, target in ways[step]:
            if target in trail:
                loop = " → ".join([*trail[trail.index(target) :], target])
                what = f"this closes a loop in which nobody waits: {loop}"
                mend = "Lead to another step or to end, or wait in the loop with a `delay`, `on_read` or `on_reply`."
                findings.hole(_written(findings, step, key), what, mend)
                yield target
            elif target not in done:
                ways[target] = iter(arrows[target])
                trail.append(target)
                break
        else:
            done.add(trail.pop())
