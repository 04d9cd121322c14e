"""What is wrong in a home now, for whoever looks: the pages, `status`, `doctor` and `/metrics`.

What belongs here: finding each kind of `journey.failures`, by small queries, stats of files and what passes and the
gateway wrote down. It changes nothing, and is cheap enough for a page (a home with a million messages: some 20 ms).
What only a long look finds (a damaged ledger, segments evaluated for it) is `doctor`'s.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.failures import Failure, Found
from journey.messaging_limit import NO_LIMIT
from journey.problems import EstafetteError, ProjectError
from journey.schedule import due_occurrence
from resources import hold
from resources.coupons import left
from resources.home import Home
from resources.ledger import PASS, US
from resources.lock_holder import lock_holder
from resources.project import Project
from resources.reached import standings
from resources.rebuild import damaged
from resources.settings import load_secrets
from resources.sharing import sharing
from resources.tables import campaign as campaigns
from resources.tables import lease, meta, schedule, template_hold, trouble
from resources.tables import occurrence as occurrences
from resources.tables import sender as senders
from resources.vitals import FAILED, PASSED, note, pace_of

LATE = 600
"""Seconds after which what is due and not done is told; a campaign of a million people is planned in two minutes."""

SILENT = 900
"""Seconds after which a message of which no status came is remarkable; Meta reports `sent` within some."""

FEW = 3
"""Messages of which no status came that are not worth a word: a single one may be lost."""

REFUSED = "webhooks_refused"  # in `meta`: the last delivery that the gateway refused, and why; JSON, wall
FORGETTING = "forgetting"  # in `meta`: somebody is being forgotten
LOW, VERY_LOW = 5 << 30, 512 << 20  # bytes of free disk
SET_BACK = 60  # seconds that a pass may have ended in the future: clocks are corrected
DAY = 86_400

_MOVES = """SELECT c.name, min(p.wake_at) FROM campaign c CROSS JOIN participant p ON p.campaign = c.name
  WHERE c.live AND c.stopped_at IS NULL AND p.left_at IS NULL AND p.wake_at <= ? GROUP BY 1"""
_ENTERS = """SELECT c.name, min(COALESCE(o.next_at, o.evaluate_at)) FROM occurrence o
  JOIN campaign c ON c.name = o.campaign WHERE c.live AND c.stopped_at IS NULL AND o.done_at IS NULL
  AND COALESCE(o.next_at, o.evaluate_at) <= ? GROUP BY 1"""
_ASKED = """SELECT c.name, min(r.taken_at) FROM request r JOIN campaign c ON c.name = r.campaign
  WHERE c.live AND c.stopped_at IS NULL AND r.done_at IS NULL AND r.taken_at <= ? GROUP BY 1"""
_GOES = """SELECT 1 FROM campaign c CROSS JOIN message m ON m.campaign = c.name JOIN sender s ON s.name = m.sender
  WHERE c.live AND c.stopped_at IS NULL AND s.stopped_at IS NULL AND m.state = 'planned' AND m.due_at <= ?
  AND (s.paused_at IS NULL OR m.priority <= 0) AND (m.quiet_at IS NULL OR m.quiet_at > ?) LIMIT 1"""
_SILENT = """SELECT count(*), min(attempted_at) FROM (SELECT m.attempted_at FROM
  (SELECT name FROM campaign UNION ALL SELECT '') c CROSS JOIN message m ON m.campaign = c.name
  WHERE m.attempted_at > ? AND m.attempted_at <= ? AND m.state = 'accepted' LIMIT 1000)"""
_TAKEN = "SELECT max(taken_at) FROM landing_file WHERE kind = 'webhooks'"
_INSIDE = "SELECT 1 FROM participant WHERE campaign = ? AND left_at IS NULL LIMIT 1"


def failures(home: Home, project: Project | None, now: datetime) -> list[Found]:
    """Everything that is wrong now, in the order of `Failure`. `now`: the campaign's clock (UTC). `project`: its files;
    None: estafette.yaml can't be used."""
    found = [*_disk(home), *_secrets(home), *_quarantine(home)]
    if project is None or project.settings_or_none is None:
        project = None
        found.append(Found(Failure.settings_broken))
    found += _lake(home)
    passes = [*_passes(home, project, now)]
    found += passes
    with home.ledger.read() as tx:
        found += [*_senders(tx, home), *_limits(tx, now), *_templates(tx), *_webhooks(tx, home, now), *_restore(tx)]
        if tx.execute(meta.select().where(meta.c.name == FORGETTING)).first() is not None:
            found.append(Found(Failure.half_forgotten))
        if project is not None:
            found += [*_campaigns(tx, project), *_coupons(tx, project, now)]
            if not passes:
                found += _overdue(tx, to_us(now))
    if project is not None:
        for name, told in sharing(home, project.settings.senders).items():
            found += [Found(Failure.sender_shared, name, detail=one) for one in told]
    order = list(Failure)
    return sorted(found, key=lambda one: (order.index(one.kind), one.about))


def of_campaign(found: list[Found], name: str, sender: str | None = None, pools: Sequence[str] = ()) -> list[Found]:
    """Those that concern one campaign: the whole installation's, its sender's (None: any), its pools', its own.
    Templates are told to all: which one a campaign uses depends on the person."""

    def mine(one: Found) -> bool:
        match one.known.concerns:
            case "sender":
                return sender is None or one.about == sender
            case "campaign":
                return one.about == name
            case "pool":
                return one.about in pools
            case _:
                return True

    return [one for one in found if mine(one)]


# -- the machine -----------------------------------------------------------------------------------------------------


def _disk(home: Home) -> Iterator[Found]:
    place = os.statvfs(home.path)
    free = place.f_bavail * place.f_frsize
    told = {"free": f"{free / (1 << 30):,.1f} GB"}
    if not all(_writable(path) for path in (home.paths.landing, home.paths.data)):
        yield Found(Failure.disk_closed)
    holder = lock_holder(home.ledger_path())
    if holder is not None and holder.stopped:
        yield Found(Failure.ledger_blocked, detail=f"Process {holder.pid} ({holder.command})")
    if free < LOW:
        yield Found(Failure.disk_full if free < VERY_LOW else Failure.disk_low, values=told)


def _writable(path: Path) -> bool:
    """Whether files can be made in a folder; one that is not there yet is nobody's trouble."""
    return not path.exists() or os.access(path, os.W_OK | os.X_OK)


def _secrets(home: Home) -> Iterator[Found]:
    with suppress(EstafetteError):
        secrets = load_secrets(home.path)  # anew: whoever mends .env sees at once that it is mended
        if secrets.whatsapp_token is None:
            yield Found(Failure.token_missing)
        if secrets.whatsapp_app_secret is None:
            yield Found(Failure.app_secret_missing)


def _lake(home: Home) -> Iterator[Found]:
    lost = damaged(home)
    if lost:
        yield Found(Failure.lake_damaged, values={"number": len(lost)}, detail=lost[0].path)
    if not home.paths.analytics.exists() and home.contacts.loaded():
        yield Found(Failure.not_published)


def _quarantine(home: Home) -> Iterator[Found]:
    with home.ledger.read() as tx:
        rows = int(tx.exec_driver_sql("SELECT count(*) FROM quarantine").scalar_one())
    if rows:
        yield Found(Failure.quarantine, values={"number": rows})


# -- passes ----------------------------------------------------------------------------------------------------------


def _passes(home: Home, project: Project | None, now: datetime) -> Iterator[Found]:
    """Whether passes are made, and come to their end."""
    wall = home.wall()
    with home.ledger.read() as tx:
        known = dict(tx.execute(sa.select(meta.c.name, meta.c.value).where(meta.c.name.in_([PASSED, FAILED]))).all())
        at_work = tx.execute(lease.select().where(lease.c.name == PASS, lease.c.until > int(wall * US))).first()
        waits = _waits(tx, to_us(now))
    passed = int(known[PASSED]) if PASSED in known else None
    if FAILED in known:
        told = json.loads(known[FAILED])
        yield Found(Failure.pass_failed, values={"since": from_us(told["at"])}, detail=told["why"])
    if passed is not None and passed / US > wall + SET_BACK:
        yield Found(Failure.clock_back, values={"since": from_us(passed)})
    elif at_work is not None or (passed is not None and passed / US >= wall - LATE):
        return
    elif waits or _unread(home, wall) or (project is not None and _is_scheduled(home, project, now)):
        if passed is None:
            yield Found(Failure.no_pass_yet)
        else:
            yield Found(Failure.no_pass, values={"since": from_us(passed)})


def _waits(tx: sa.Connection, now: int) -> bool:
    """Whether people, entries or messages should have gone on a while ago."""
    late = now - LATE * US
    if any(tx.exec_driver_sql(query, (late,)).first() is not None for query in (_MOVES, _ENTERS, _ASKED)):
        return True
    return hold.held(tx) is None and tx.exec_driver_sql(_GOES, (late, now)).first() is not None


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


def _overdue(tx: sa.Connection, now: int) -> Iterator[Found]:
    """Campaigns in which somebody is late although passes are made: a segment fails, mostly."""
    troubled = set(tx.execute(sa.select(trouble.c.campaign)).scalars())
    found: dict[str, int] = {}
    for query in (_MOVES, _ENTERS, _ASKED):
        for name, since in tx.exec_driver_sql(query, (now - LATE * US,)).all():
            found[name] = min(int(since), found.get(name, now))
    for name, since in found.items():
        if name not in troubled:
            yield Found(Failure.campaign_overdue, name, {"since": from_us(since)})


# -- what comes back -------------------------------------------------------------------------------------------------


def _webhooks(tx: sa.Connection, home: Home, now: datetime) -> Iterator[Found]:
    """Whether deliveries are refused, and whether statuses come at all."""
    refused = tx.execute(sa.select(meta.c.value).where(meta.c.name == REFUSED)).scalar()
    newest = _newest(home.paths.landing / "webhooks")
    if refused is not None:
        told = json.loads(refused)
        if told["at"] / US > max(newest, home.wall() - DAY):
            yield Found(Failure.webhooks_refused, values={"since": from_us(told["at"])}, detail=told["why"])
    if home.landing.pending(home.wall(), ["webhooks"]):  # some did come, and wait to be read
        return
    at, taken = to_us(now), tx.exec_driver_sql(_TAKEN).scalar()
    since = max(at - DAY * US, int(taken or 0))
    number, first = tx.exec_driver_sql(_SILENT, (since, at - SILENT * US)).one()
    if number >= FEW:
        yield Found(Failure.no_webhooks, values={"since": from_us(first), "number": int(number)})


def _newest(folder: Path) -> float:
    """When a delivery was last written down (seconds, wall); 0: never."""
    with suppress(OSError):
        return max((one.stat().st_mtime for one in folder.glob("[!.]*")), default=0.0)
    return 0.0


def _restore(tx: sa.Connection) -> Iterator[Found]:
    found = hold.restored(tx)
    if hold.held(tx) is not None and found is not None:
        yield Found(Failure.sends_held, values={"since": from_us(found.at)})


# -- senders, templates, campaigns -----------------------------------------------------------------------------------


def _senders(tx: sa.Connection, home: Home) -> Iterator[Found]:
    wall = int(home.wall() * US)
    for row in tx.execute(sa.select(senders)).all():
        if row.stopped_at is not None:
            values = {"since": from_us(row.stopped_at)}
            yield Found(Failure.sender_stopped, row.name, values, row.stopped_why or "", row.stopped_code)
        if row.paused_at is not None:
            values = {"since": from_us(row.paused_at)}
            yield Found(Failure.sender_resting, row.name, values, row.paused_why or "")
        pace = pace_of(row, wall)
        if pace < row.ceiling:
            told = {"pace": f"{pace:g}", "ceiling": f"{row.ceiling:g}"}
            yield Found(Failure.sender_slowed, row.name, told)


def _limits(tx: sa.Connection, now: datetime) -> Iterator[Found]:
    for one in standings(tx, to_us(now)):
        if one.waiting and one.limit not in (None, NO_LIMIT):
            values = {"people": one.people, "limit": one.limit, "number": one.waiting}
            yield Found(Failure.limit_reached, values=values)


def _templates(tx: sa.Connection) -> Iterator[Found]:
    for row in tx.execute(sa.select(template_hold).order_by(template_hold.c.name, template_hold.c.language)).all():
        yield Found(Failure.template_held, f"{row.name} ({row.language})", {"status": row.status}, code=row.code)


def _campaigns(tx: sa.Connection, project: Project) -> Iterator[Found]:
    rows = {row.name: row for row in tx.execute(sa.select(campaigns)).all()}
    live = project.live_campaigns()
    for name, row in rows.items():
        if row.stopped_at is not None and name in project.campaigns:
            values = {"since": from_us(row.stopped_at)}
            yield Found(Failure.campaign_stopped, name, values, row.stopped_why or "")
        if name not in live and tx.exec_driver_sql(_INSIDE, (name,)).first() is not None:
            yield Found(Failure.campaign_stranded, name)
    for name, holes in project.holes.items():
        yield Found(Failure.campaign_holes, name, detail=str(holes[0]) if holes else "")
    for row in tx.execute(sa.select(trouble)).all():
        kind = Failure.campaign_trouble if row.campaign else Failure.inbox_trouble
        yield Found(kind, row.campaign, {"since": from_us(row.since)}, f"{row.doing}: {row.error}")


def _coupons(tx: sa.Connection, project: Project, now: datetime) -> Iterator[Found]:
    for pool in dict.fromkeys(pool for one in project.live_campaigns().values() for pool in one.pools()):
        if not left(tx, pool, to_us(now)).free:
            yield Found(Failure.coupons_out, pool)


def project_of(home: Home) -> Project | None:
    """The home's files; None where estafette.yaml can't be used."""
    with suppress(ProjectError):
        return home.project if home.project.settings_or_none is not None else None
    return None


def note_refused(tx: sa.Connection, wall: float, why: str) -> None:
    """Write down that the gateway refused a delivery."""
    note(tx, REFUSED, json.dumps({"at": int(wall * US), "why": why}))
