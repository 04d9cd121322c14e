"""One turn: take in, look at events, let in, advance and plan, until nothing more is due at this time.

What belongs here: the order of the verbs and when they are at rest. A pass makes one turn, and more of them while its
lanes send, or while there is more to do than a turn's portion; a live pass makes one a second.
"""

from dataclasses import dataclass, field
from datetime import datetime

from journey.clock import to_us
from pipelines.advance import advance
from pipelines.enter import enter
from pipelines.holding import hold_and_expire
from pipelines.inbox import answer
from pipelines.letting_in import Entered
from pipelines.plan import plan
from pipelines.portion import Portion
from pipelines.signals import look_at_events, look_back
from pipelines.stop_if import stop_by_rule
from pipelines.take_in import TakenIn, take_in
from pipelines.unknown import settle_unknown
from resources.hold import catch_up, held
from resources.home import Home
from resources.ledger import Lease
from resources.numbers import end_rests, rest_is_over

ROUNDS = 1_000
"""`check` refuses a loop without a wait, so people come to rest; this stops a pass that would never end."""


@dataclass
class Turn:
    """What one turn did."""

    taken: TakenIn = field(default_factory=TakenIn)
    entered: Entered = field(default_factory=Entered)
    moved: int = 0
    planned: int = 0
    more: bool = False
    """Whether a part of what is due is left for the next turn."""

    @property
    def anything(self) -> bool:
        """Whether anything happened."""
        return bool(self.taken.anything or self.entered.anything or self.moved or self.planned)


def settle(home: Home, lease: Lease, now: datetime) -> None:
    """What time alone decides of messages: those unknown for long enough, those held or held too long; and campaigns
    that stop by their own rule; senders whose restriction is over."""
    with home.ledger.read() as tx:
        resting = rest_is_over(tx, to_us(now))
    if resting:
        with home.ledger.write(lease) as tx:
            end_rests(tx, to_us(now))
    settle_unknown(home, lease, now)
    stop_by_rule(home, lease, now)
    hold_and_expire(home, lease, now)


def move(home: Home, lease: Lease, now: datetime) -> tuple[int, int, bool]:
    """Advance and plan in turn until nobody moves, or a turn's portion has. Gives (moves, people planned for, whether
    more are due)."""
    moved = planned = 0
    moving, planning = Portion(), Portion()
    for _ in range(ROUNDS):
        step_moved = advance(home, lease, now, moving)
        step_planned = plan(home, lease, now, planning)
        moved, planned = moved + step_moved, planned + step_planned
        if not step_moved and not step_planned:
            break
    return moved, planned, bool(moving.left or planning.left)


def let_in(home: Home, lease: Lease, now: datetime) -> tuple[int, Entered]:
    """Look at new events, then let in whoever's time has come; before that, whose wait is over leaves: a passage that
    has ended by its deadline must not refuse the next one, however late the pass. Gives (moves and whatever else events
    did, who came in)."""
    moved = look_at_events(home, lease, now)
    moving, entering = Portion(), Portion()
    for _ in range(ROUNDS):
        step_moved = advance(home, lease, now, moving)
        moved += step_moved
        if not step_moved:
            break
    entered = enter(home, lease, now, entering, moving.left)
    entered.more = bool(moving.left or entering.left)
    return moved + look_back(home, lease, now), entered


def turn(home: Home, lease: Lease, *, final: bool = False) -> Turn:
    """What is due now but sending and publishing: all of it, or of each campaign a portion."""
    now = home.clock()
    home.media.begin()
    with home.ledger.read() as tx:
        why = held(tx)
    if why is not None:
        home.say(why)
    taken = take_in(home, lease, now, final=final)
    left, entered = let_in(home, lease, now)
    settle(home, lease, now)
    answered = answer(home, lease, now)
    moved, planned, more = move(home, lease, now)
    more = more or entered.more
    home.troubles.over(lease)
    catch_up(home.ledger, lease, whole=not entered.failed and not more)
    return Turn(taken, entered, left + moved, answered + planned, more)
