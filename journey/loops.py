"""Loops: the steps that somebody may come to again.

What belongs here: what the arrows between steps say about it. Whether a loop waits is `check_flow`.
"""

from collections.abc import Mapping

from journey.campaign import Campaign


def in_loops(campaign: Campaign) -> frozenset[str]:
    """The steps that lie in a loop, or on a way from one loop to another."""
    arrows = {
        name: {target for _, _, target, _ in step.ways() if target in campaign.steps}
        for name, step in campaign.steps.items()
    }
    return frozenset(_without_ends(_turned(_without_ends(arrows))))


def _without_ends(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph without what leads nowhere, and so on, until every step leads to another one."""
    left = {name: set(targets) for name, targets in arrows.items()}
    before = _turned(left)
    ends = [name for name, targets in left.items() if not targets]
    while ends:
        end = ends.pop()
        del left[end]
        for name in before[end]:
            if name in left:
                left[name].discard(end)
                if not left[name]:
                    ends.append(name)
    return left


def _turned(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    turned: dict[str, set[str]] = {name: set() for name in arrows}
    for name, targets in arrows.items():
        for target in targets:
            turned[target].add(name)
    return turned
