"""Portions: how many people of each campaign a turn deals with before it looks up again.

What belongs here: the count. A million people who come in, move on or are planned for at once are dealt with in several
turns: the first of them are sent to at once, and an event that comes in meanwhile waits for a few seconds, not for the
million. Each campaign has a portion of its own, so that none waits for another.
"""

from dataclasses import dataclass, field

PEOPLE = 50_000
"""Some two seconds' work."""


@dataclass
class Portion:
    """One turn's portion of each campaign: `people` (None: all there are). `left` names those that have more to do."""

    people: int | None = PEOPLE
    left: set[str] = field(default_factory=set)
    _taken: dict[str, int] = field(default_factory=dict)

    def room(self, campaign: str) -> int | None:
        """How many people more; None: any number."""
        return None if self.people is None else max(0, self.people - self._taken.get(campaign, 0))

    def more(self, campaign: str, coming: int = 0) -> bool:
        """Asked when there is more to do: whether it is to be done in this turn, where so many at most are `coming`
        already. If not, it is left for the next."""
        room = self.room(campaign)
        if room is not None and room <= coming:
            self.left.add(campaign)
            return False
        return True

    def took(self, campaign: str, people: int) -> None:
        """So many have been dealt with."""
        self._taken[campaign] = self._taken.get(campaign, 0) + people
