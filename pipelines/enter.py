"""Enter: who comes into a campaign now, by which entry, and why the others do not.

What belongs here: the order of the entries. People who were waited for come first, then whom events and requests bring
in, then audiences: what happened comes before what was scheduled. Each way in has a room of its own; all of them let
people in by `letting_in`, and leave a row of `entries` for everyone with the outcome.
"""

from collections.abc import Collection
from datetime import datetime

from pipelines.audiences import enter_by_schedule
from pipelines.letting_in import Entered
from pipelines.portion import Portion
from pipelines.requests import enter_by_requests
from pipelines.triggers import enter_by_events
from pipelines.waiting import enter_waiting
from resources.home import Home
from resources.ledger import Lease


def enter(home: Home, lease: Lease, now: datetime, portion: Portion, moving: Collection[str] = ()) -> Entered:
    """Let in everyone whose time has come, of an audience a portion. `know_campaigns` comes before, with the taking-in.
    `moving`: campaigns in which people still move on; whoever's wait is over there has to leave before others enter."""
    result = Entered()
    stopped = home.stopped_campaigns()
    running = {name: one for name, one in home.moving_campaigns().items() if name not in stopped}
    running = {name: one for name, one in running.items() if name not in moving}
    enter_waiting(home, lease, running, now, result)
    enter_by_events(home, lease, running, now, result)
    enter_by_requests(home, lease, stopped, moving, portion, now, result)
    running = {name: one for name, one in running.items() if name not in result.stopped}
    enter_by_schedule(home, lease, running, portion, now, result)
    return result
