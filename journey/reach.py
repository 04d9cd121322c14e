"""Which steps a campaign may still bring somebody to, from where they stand.

What belongs here: walking the ways out of steps, as a plain graph. Which way somebody takes is `cohort`.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from journey.campaign import Campaign
from journey.steps import DelayStep, MessageStep, OnRead, OnReply, Step, WaitForStep
from journey.words import END, Branch

EXCEPTIONS = frozenset({str(Branch.on_skip), str(Branch.on_failure)})
"""Branches that are taken when a message does not go out or does not arrive."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Steps that lie ahead, in the file's order. `ahead`: along what is planned; `fallen`: only after a skip or a
    failure. The step where one stands is among them only where a loop leads back to it."""

    ahead: tuple[str, ...]
    fallen: tuple[str, ...]


def reach(campaign: Campaign, step: str) -> Reach:
    """What lies ahead of somebody who stands at `step`."""
    ahead = _closure(campaign, step, exceptions=False)
    every = _closure(campaign, step, exceptions=True)
    return Reach(_ordered(campaign, ahead), _ordered(campaign, every - ahead))


def soonest(campaign: Campaign, step: str) -> dict[str, timedelta]:
    """How soon after standing at `step` somebody may stand at each step ahead, by any way: a wait that an answer, a
    read or an event ends takes no time, a deadline or a delay all of it. From a step that the file no longer has, every
    step at once."""
    if step not in campaign.steps:
        return dict.fromkeys(campaign.steps, timedelta(0))
    found: dict[str, timedelta] = {}
    waiting: list[tuple[timedelta, str]] = [(timedelta(0), step)]
    while waiting:
        after, here = heapq.heappop(waiting)
        if found.get(here, after) < after or here not in campaign.steps:
            continue
        one = campaign.steps[here]
        for _, branch, target, _ in one.ways():
            there = after + _least(one, branch)
            if target in campaign.steps and (target not in found or there < found[target]):
                found[target] = there
                heapq.heappush(waiting, (there, target))
    return found


def _least(step: Step, branch: str) -> timedelta:
    """The least time that a way out of a step takes."""
    match step:
        case DelayStep():
            return step.length or timedelta(0)
        case WaitForStep():
            return step.within if step.full_wait or branch == Branch.otherwise else timedelta(0)
        case MessageStep(on_read=OnRead() as wait) if branch not in EXCEPTIONS:
            return timedelta(0) if branch == Branch.read and not wait.full_wait else wait.within
        case MessageStep(on_reply=OnReply() as wait) if branch not in EXCEPTIONS:
            return wait.within if wait.full_wait or branch == Branch.silence else timedelta(0)
        case _:
            return timedelta(0)


def _closure(campaign: Campaign, step: str, *, exceptions: bool) -> set[str]:
    found: set[str] = set()
    waiting = [step]
    while waiting:
        one = campaign.steps.get(waiting.pop())
        if one is None:  # removed from the file
            continue
        for _, branch, target, _ in one.ways():
            if target != END and target not in found and (exceptions or branch not in EXCEPTIONS):
                found.add(target)
                waiting.append(target)
    return found


def _ordered(campaign: Campaign, names: Iterable[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(name for name in campaign.steps if name in wanted)
