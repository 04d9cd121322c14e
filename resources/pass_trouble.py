"""Whether passes are made and come to their end, and who is late although they are: for `resources.failures`.

What belongs here: what waits for a pass, by small queries and stats of files, and what passes wrote down of themselves.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime

import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.failures import Failure, Found
from journey.schedule import due_occurrence
from resources import hold
from resources.doing import evaluating
from resources.home import Home
from resources.lease_names import PASS
from resources.ledger import US
from resources.present import asked
from resources.project import Project
from resources.tables import lease, meta, schedule, trouble
from resources.tables import occurrence as occurrences
from resources.vitals import FAILED, PASSED

LATE = 600
"""Seconds after which what is due and not done is told; a campaign of a million people is planned in two minutes."""

SLOW = 60  # seconds after which it is told that a pass is at a segment

SET_BACK = 60  # seconds that a pass may have ended in the future: clocks are corrected

_MOVES = """SELECT c.name, min(p.wake_at) FROM campaign c CROSS JOIN participant p ON p.campaign = c.name
  WHERE c.live AND c.stopped_at IS NULL AND p.left_at IS NULL AND p.wake_at <= ? GROUP BY 1"""
_ENTERS = """SELECT c.name, min(COALESCE(o.next_at, o.evaluate_at)) FROM occurrence o
  JOIN campaign c ON c.name = o.campaign WHERE c.live AND c.stopped_at IS NULL AND o.done_at IS NULL
  AND COALESCE(o.next_at, o.evaluate_at) <= ? GROUP BY 1"""
_ASKED = """SELECT c.name, min(r.taken_at) FROM request r JOIN campaign c ON c.name = r.campaign
  WHERE c.live AND c.stopped_at IS NULL AND r.done_at IS NULL AND r.taken_at <= ? GROUP BY 1"""
_GOES = """SELECT 1 FROM campaign c CROSS JOIN message m ON m.campaign = c.name JOIN sender s ON s.name = m.sender
  WHERE c.live AND c.stopped_at IS NULL AND s.stopped_at IS NULL AND m.state = 'planned' AND m.due_at <= ?
  AND s.name IN (SELECT value FROM json_each(?))
  AND (s.paused_at IS NULL OR m.priority <= 0) AND (m.quiet_at IS NULL OR m.quiet_at > ?) LIMIT 1"""


def passes(home: Home, project: Project | None, names: Collection[str], now: datetime) -> Iterator[Found]:
    """Whether passes are made, and come to their end. `names`: the senders that there are."""
    wall = home.wall()
    with home.ledger.read() as tx:
        known = dict(tx.execute(sa.select(meta.c.name, meta.c.value).where(meta.c.name.in_([PASSED, FAILED]))).all())
        at_work = tx.execute(lease.select().where(lease.c.name == PASS, lease.c.until > int(wall * US))).first()
        waits = _waits(tx, names, to_us(now))
    passed = int(known[PASSED]) if PASSED in known else None
    if FAILED in known:
        told = json.loads(known[FAILED])
        yield Found(Failure.pass_failed, values={"since": from_us(told["at"])}, detail=told["why"])
    doing = evaluating(at_work.note) if at_work is not None else None
    if doing is not None and wall - doing.since.timestamp() > SLOW:
        yield Found(Failure.segment_slow, doing.segment, {"since": doing.since})
    last = asked(home.paths.data, wall) if at_work is None else None
    if last is not None and (passed is None or passed / US < last + LATE):  # else others have made passes since
        yield Found(Failure.daemon_gone, values={"since": from_us(int(last * US))})
    if passed is not None and passed / US > wall + SET_BACK:
        yield Found(Failure.clock_back, values={"since": from_us(passed)})
    elif at_work is not None or (passed is not None and passed / US >= wall - LATE):
        return
    elif waits or _unread(home, wall) or (project is not None and _is_scheduled(home, project, now)):
        if passed is None:
            yield Found(Failure.no_pass_yet)
        else:
            yield Found(Failure.no_pass, values={"since": from_us(passed)})


def _waits(tx: sa.Connection, names: Collection[str], now: int) -> bool:
    """Whether people, entries or messages should have gone on a while ago."""
    late = now - LATE * US
    if any(tx.exec_driver_sql(query, (late,)).first() is not None for query in (_MOVES, _ENTERS, _ASKED)):
        return True
    return hold.held(tx) is None and tx.exec_driver_sql(_GOES, (late, json.dumps([*names]), now)).first() is not None


def _unread(home: Home, wall: float) -> bool:
    """Whether something has lain in the landing zone for a while."""
    return any(wall - stat.mtime_ns / 1e9 > LATE for stat in home.landing.pending(wall))


def _is_scheduled(home: Home, project: Project, now: datetime) -> bool:
    """Whether an audience's time came a while ago, and no pass has made an occurrence of it."""
    stopped = home.stopped_campaigns()
    with home.ledger.read() as tx:
        since = {(row.campaign, row.entry): row.since for row in tx.execute(sa.select(schedule)).all()}
        last = {
            (row.campaign, row.entry): row.name
            for row in tx.execute(
                sa.select(occurrences.c.campaign, occurrences.c.entry, occurrences.c.name)
                .where(~occurrences.c.name.startswith("run "))
                .order_by(occurrences.c.id)
            ).all()
        }
    for name, campaign in project.live_campaigns().items():
        for place, entry in campaign.audiences():
            live_since = since.get((name, place))
            if entry.when is None or live_since is None or name in stopped:
                continue
            due = due_occurrence(
                entry.when, project.settings.timezone, live_since=from_us(live_since), last=last.get((name, place)),
                zones=(), now=now,
            )  # fmt: skip
            if due is not None and (now - due.evaluate_at).total_seconds() > LATE:
                return True
    return False


def overdue(tx: sa.Connection, now: int) -> Iterator[Found]:
    """Campaigns in which somebody is late although passes are made: a segment fails, mostly."""
    troubled = set(tx.execute(sa.select(trouble.c.campaign)).scalars())
    found: dict[str, int] = {}
    for query in (_MOVES, _ENTERS, _ASKED):
        for name, since in tx.exec_driver_sql(query, (now - LATE * US,)).all():
            found[name] = min(int(since), found.get(name, now))
    for name, since in found.items():
        if name not in troubled:
            yield Found(Failure.campaign_overdue, name, {"since": from_us(since)})
