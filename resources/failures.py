"""What is wrong in a home now, for whoever looks: the pages, `status`, `doctor` and `/metrics`.

What belongs here: finding each kind of `journey.failures`, by small queries, stats of files and what passes and the
gateway wrote down. It changes nothing, and is cheap enough for a page (a home with a million messages: some 20 ms).
What only a long look finds (a damaged ledger, segments evaluated for it) is `doctor`'s.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.codes import code_of
from journey.failures import Failure, Found
from journey.problems import EstafetteError, ProjectError
from resources import hold
from resources.coupons import left
from resources.damage import damaged
from resources.disks import disk_failures
from resources.home import Home
from resources.ledger import US
from resources.pass_trouble import overdue, passes
from resources.present import daemons, ended
from resources.project import Project
from resources.refused import refused, tried_again, unknown
from resources.sender_trouble import healed, sender_trouble
from resources.settings import load_secrets
from resources.sharing import sharing
from resources.tables import campaign as campaigns
from resources.tables import meta, trouble
from resources.tables import sender as senders
from resources.vitals import note

SILENT = 900
"""Seconds after which a message of which no status came is remarkable; Meta reports `sent` within some."""

FEW = 3
"""Messages of which no status came that are not worth a word: a single one may be lost."""

NOT_KEPT = "not_kept"  # the kind of a refused delivery that was good, and for which there was no room
REFUSED = "webhooks_refused"  # in `meta`: the last delivery that the gateway refused, and why; JSON, wall
REQUESTS = "requests_refused"  # in `meta`: requests that gateways refused, by status, while they come; JSON, wall
FORGETTING = "forgetting"  # in `meta`: somebody is being forgotten
DAY, HOUR = 86_400, 3_600
MANY = 20  # refused requests that are worth a word: everybody errs

_SILENT = """SELECT count(*), min(attempted_at) FROM (SELECT m.attempted_at, m.state FROM
  (SELECT name FROM campaign UNION ALL SELECT '') c CROSS JOIN message m ON m.campaign = c.name
  WHERE m.attempted_at > ? AND m.attempted_at <= ? LIMIT 10000) WHERE state = 'accepted'"""
_TAKEN = "SELECT max(taken_at) FROM landing_file WHERE kind = 'webhooks'"
_INSIDE = "SELECT 1 FROM participant WHERE campaign = ? AND left_at IS NULL LIMIT 1"


def failures(home: Home, project: Project | None, now: datetime) -> list[Found]:
    """Everything that is wrong now, and what healed of late, in the order of `Failure`. `now`: the campaign's clock
    (UTC). `project`: its files; None: estafette.yaml can't be used."""
    found = [*disk_failures(home), *_secrets(home), *_quarantine(home), *_present(home)]
    if project is None or project.settings_or_none is None:
        project = None
        found.append(Found(Failure.settings_broken))
    found += _lake(home)
    names = _names(home, project)
    in_passes = [*passes(home, project, names, now)]
    found += in_passes
    wall = int(home.wall() * US)
    with home.ledger.read() as tx:
        found += [*sender_trouble(tx, names, now, wall), *healed(tx, names, wall), *_webhooks(tx, home, now)]
        found += [*_restore(tx), *_requests(tx, home.wall()), *_messages(tx, project, names, to_us(now), wall)]
        if tx.execute(meta.select().where(meta.c.name == FORGETTING)).first() is not None:
            found.append(Found(Failure.half_forgotten))
        if project is not None:
            found += [*_campaigns(tx, project), *_coupons(tx, project, now)]
            if all(one.kind == Failure.segment_slow for one in in_passes):
                found += overdue(tx, to_us(now))
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


def _present(home: Home) -> Iterator[Found]:
    """Gateways that ended without a word; those of which another took the place are one line. Daemons, where there are
    several."""
    over = ended(home.paths.data, home.wall())
    down = {gone.address: gone for gone, heir in over if heir is None}
    for address, gone in down.items():
        yield Found(Failure.gateway_down, address, {"since": from_us(int(gone.seen * US))})
    back = [gone for gone, heir in over if heir is not None]
    if back:
        last = max(gone.seen for gone in back)
        values = {"since": from_us(int(last * US)), "number": len(back)}
        yield Found(Failure.gateway_back, values=values, count=len(back))
    several = daemons(home.paths.data, home.wall())
    if several:
        yield Found(Failure.several_daemons, values={"number": len(several)}, detail=f"({', '.join(several)})")


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
    if not home.paths.analytics.is_file() and home.contacts.loaded():
        yield Found(Failure.not_published)


def _quarantine(home: Home) -> Iterator[Found]:
    with home.ledger.read() as tx:
        rows = int(tx.exec_driver_sql("SELECT count(*) FROM quarantine").scalar_one())
    if rows:
        yield Found(Failure.quarantine, values={"number": rows})


# -- what comes back -------------------------------------------------------------------------------------------------


def _webhooks(tx: sa.Connection, home: Home, now: datetime) -> Iterator[Found]:
    """Whether deliveries are refused, and whether statuses come at all."""
    refused = tx.execute(sa.select(meta.c.value).where(meta.c.name == REFUSED)).scalar()
    newest = _newest(home.paths.landing / "webhooks")
    if refused is not None:
        told = json.loads(refused)
        if told["at"] / US > max(newest, home.wall() - DAY):
            kind = Failure.not_kept if told.get("kind") == NOT_KEPT else Failure.webhooks_refused
            yield Found(kind, values={"since": from_us(told["at"])}, detail=told["why"])
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


def _messages(tx: sa.Connection, project: Project | None, names: Sequence[str], now: int, wall: int) -> Iterator[Found]:
    """What Meta refuses of each campaign's messages, and of which nobody can say whether they went out."""
    ran = {str(row.name): row for row in tx.execute(sa.select(campaigns)).all()}
    yield from refused(tx, ran, now)
    yield from tried_again(tx, names, [name for name, row in ran.items() if row.stopped_at is None], wall)
    known = project.campaigns if project is not None else {}
    yield from unknown(tx, {name: one.settings.when_unknown.after for name, one in known.items()}, now)


def _requests(tx: sa.Connection, wall: float) -> Iterator[Found]:
    """Whether gateways refuse requests."""
    told = _refused_requests(tx, wall)
    number = sum(told["counts"].values())
    if number >= MANY:
        times = {name: from_us(int(told[name] * US)) for name in ("since", "last")}
        listed = ", ".join(f"{status} × {count:,}" for status, count in sorted(told["counts"].items()))
        yield Found(Failure.requests_refused, values={"number": number, **times}, detail=f"({listed})", count=number)


def _refused_requests(tx: sa.Connection, wall: float) -> dict[str, Any]:
    """Those up to now; none where the last is long ago."""
    value = tx.execute(sa.select(meta.c.value).where(meta.c.name == REQUESTS)).scalar()
    told: dict[str, Any] = json.loads(value) if value is not None else {}
    return told if told and abs(wall - told["last"]) < HOUR else {"since": wall, "last": wall, "counts": {}}


def _restore(tx: sa.Connection) -> Iterator[Found]:
    found = hold.restored(tx)
    if hold.held(tx) is not None and found is not None:
        yield Found(Failure.sends_held, values={"since": from_us(found.at)})


# -- campaigns --------------------------------------------------------------------------------------------------------


def _campaigns(tx: sa.Connection, project: Project) -> Iterator[Found]:
    rows = {row.name: row for row in tx.execute(sa.select(campaigns)).all()}
    live = project.live_campaigns()
    for name, row in rows.items():
        if row.stopped_at is not None and name in project.campaigns:
            values = {"since": from_us(row.stopped_at)}
            yield Found(Failure.campaign_stopped, name, values, row.stopped_why or "", code_of(row.stopped_why))
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


def _names(home: Home, project: Project | None) -> list[str]:
    """The senders that there are: what is left of one that was taken out of the settings concerns nobody."""
    if project is not None:
        return list(project.settings.senders)
    with home.ledger.read() as tx:
        return list(tx.execute(sa.select(senders.c.name)).scalars())


def project_of(home: Home) -> Project | None:
    """The home's files; None where estafette.yaml can't be used."""
    with suppress(ProjectError):
        return home.project if home.project.settings_or_none is not None else None
    return None


def note_requests(tx: sa.Connection, counts: Mapping[int, int], wall: float) -> None:
    """Write down that a gateway refused requests, by status."""
    told = _refused_requests(tx, wall)
    for status, count in counts.items():
        told["counts"][str(status)] = told["counts"].get(str(status), 0) + count
    note(tx, REQUESTS, json.dumps({**told, "last": wall}))


def note_refused(tx: sa.Connection, wall: float, why: str, kind: str) -> None:
    """Write down that the gateway refused a delivery; `kind` is the gateway's word for why."""
    note(tx, REFUSED, json.dumps({"at": int(wall * US), "why": why, "kind": kind}))
