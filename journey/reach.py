"""Which steps a campaign may still bring somebody to, from where they stand.

What belongs here: walking the ways out of steps, as a plain graph. Which way somebody takes is `cohort`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from journey.campaign import Campaign
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
