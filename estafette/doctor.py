"""`doctor`: whatever is wrong with the installation now, each line ok, warn or FAIL with what to do.

What belongs here: the looks, one function each. They read; a probe in the landing zone, and what Meta says of the
numbers, is all that is written.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from estafette import show
from estafette.damage import DAMAGED, look_at_files, look_at_lake, look_at_ledger
from estafette.failing import failing
from estafette.lease import describe
from estafette.line import Level, Line
from estafette.session import Session
from journey.clock import civil_time, from_us, to_us, zone
from journey.codes import explain
from journey.failures import KINDS, Failure, place
from journey.messaging_limit import NO_LIMIT
from journey.messaging_limit import show as show_limit
from journey.problems import CloudApiError, EstafetteError
from journey.steps import Link, TemplateMessage
from pipelines.forgetting import unfinished
from pipelines.scrubbing import is_due
from resources.cloud_api import CloudApi, PhoneNumber
from resources.containing import told, troubles
from resources.coupons import left
from resources.disk_trouble import disk_trouble
from resources.disks import LOW, VERY_LOW, disk_free
from resources.failures import failures, project_of
from resources.home import Home
from resources.ledger import US
from resources.numbers import know_senders, note_number
from resources.reached import standings
from resources.sharing import sharing
from resources.tables import campaign as campaigns
from resources.tables import sender as senders

BLOCKED_SECONDS = 5.0
"""So long `doctor` waits for whoever writes to the ledger: no transaction of ours takes a second."""

FRESH = timedelta(days=7)  # since templates were pulled
THROUGHPUT = {"STANDARD": 80, "HIGH": 1000}  # messages a second


def doctor(session: Session) -> bool:
    """Look at everything and show it. False where anything FAILs."""
    lines: list[Line] = []
    with session.open(settings=False) as home:
        home.ledger.patience = BLOCKED_SECONDS  # whoever blocks it is told by each look that writes
        for look, entry in LOOKS.items():
            lines += (replace(one, runbook=one.runbook or place(entry)) for one in _safely(look, home))
    failed = sum(line.level == "FAIL" for line in lines)
    document = {
        "ok": not failed,
        "lines": [
            {"what": one.what, "level": one.level, "found": one.found, "mend": one.mend}
            | ({"runbook": one.runbook} if one.level != "ok" else {})
            for one in lines
        ],
    }
    session.show(document, lambda console: _draw(console, lines))
    return not failed


def _safely(look: Callable[[Home], Iterable[Line]], home: Home) -> Iterator[Line]:
    """The lines of one look; an error that it did not foresee is a line too, and the others are still looked at."""
    what = look.__name__.removeprefix("look_at").strip("_")
    try:
        yield from look(home)
    except EstafetteError as error:
        yield Line(what, "FAIL", _joined(error.where, error.message), error.mend)
    except sa.exc.DatabaseError as error:
        trouble = disk_trouble(error)  # what stands on a disk that can't be written is not damaged
        found = f"the ledger can't be read or written: {error.orig}"
        yield Line(what, "FAIL", found, trouble.mend if trouble is not None else DAMAGED)
    except OSError as error:
        yield Line(
            what,
            "FAIL",
            f"{error.strerror or error} ({error.filename})",
            "See its permissions",
        )
    except Exception as error:  # of a file that is damaged, Polars says so in its own words
        yield Line(what, "FAIL", told(error), "The lines about the lake say which file is damaged; see its mend there")


def _settings(home: Home) -> Iterator[Line]:
    settings = home.project.settings
    yield Line("settings", "ok", f"region {settings.region}, timezone {settings.timezone}")
    holes = home.project.holes
    if holes:
        yield Line(
            "campaigns", "warn", f"not live, they have holes: {', '.join(sorted(holes))}", "Run `estafette check`"
        )
    else:
        yield Line("campaigns", "ok", f"{len(home.project.live_campaigns())} live of {len(home.project.campaigns)}")


def _segments(home: Home) -> Iterator[Line]:
    """The segments that fail while somebody waits for them."""
    stopped = home.stopped_campaigns()
    for name, campaign in home.project.live_campaigns().items():
        for one in failing(home, campaign) if name not in stopped else ():
            found = f"{one['held_up']} of {name} held up: {one['message']}"
            yield Line(f"segment {one['segment']}", "FAIL", found, one["mend"])


def _secrets(home: Home) -> Iterator[Line]:
    secrets = home.secrets
    where = "Meta" if secrets.is_meta else f"{secrets.api_url}, which is not Meta"
    yield Line("address", "ok", f"messages go to {where}")
    put = "Put it in the environment or in .env"
    for name, value, level, why in (
        ("WHATSAPP_TOKEN", secrets.whatsapp_token, "FAIL", "nothing can be sent"),
        ("WHATSAPP_APP_SECRET", secrets.whatsapp_app_secret, "FAIL", "no webhook can be verified"),
        ("WHATSAPP_VERIFY_TOKEN", secrets.whatsapp_verify_token, "warn", "Meta's handshake is refused"),
    ):
        if value is None:
            yield Line(name, "FAIL" if level == "FAIL" else "warn", f"it is not set: {why}", put)
        else:
            yield Line(name, "ok", "set")


def _senders(home: Home) -> Iterator[Line]:
    token = home.secrets.whatsapp_token
    with home.ledger.write() as tx:
        know_senders(tx, home.project.settings.senders)
    for name, sender in home.project.settings.senders.items():
        if token is not None:
            with CloudApi(home.secrets.api_url, home.secrets.api_version, token) as api:
                try:
                    number = api.phone_number(sender.phone_number_id)
                except CloudApiError as error:
                    yield Line(f"sender {name}", "FAIL", error.message, error.mend)
                else:
                    with home.ledger.write() as tx:
                        note_number(tx, name, number, to_us(home.clock()), int(home.wall() * US))
                    yield _number(name, sender.messages_per_second, number)
        with home.ledger.read() as tx:
            row = tx.execute(sa.select(senders).where(senders.c.name == name)).one()
        if row.paused_at is not None:
            found = f"its bulk messages rest since {_when(home, row.paused_at)}: {row.paused_why}"
            mend = KINDS[Failure.sender_resting].mend.format(name=name)
            yield Line(f"sender {name}", "FAIL", found, mend)
        if row.stopped_at is not None:
            mend = f"{explain(row.stopped_code).sentence} {KINDS[Failure.sender_stopped].mend.format(name=name)}"
            yield Line(f"sender {name}", "FAIL", f"stopped {_when(home, row.stopped_at)}: {row.stopped_why}", mend)


def _limits(home: Home) -> Iterator[Line]:
    """How many people each portfolio may write to, and has."""
    with home.ledger.read() as tx:
        found = standings(tx, to_us(home.clock()))
    for one in found:
        what = "messaging limit" if len(found) == 1 else f"limit of {one.portfolio}"
        if one.limit is None:
            mend = "Meta says it of the number (see sender); or write messaging_limit in estafette.yaml"
            yield Line(what, "warn", "not known, so that none is kept", mend)
            continue
        whose = "by estafette.yaml" if one.said_at is None else f"as Meta said {_when(home, one.said_at)}"
        counted = "" if one.limit == NO_LIMIT else f"; {one.people:,} have had messages, {one.waiting:,} messages wait"
        yield Line(what, "ok", f"{show_limit(one.limit)}, {whose}{counted}")


def _shared(home: Home) -> Iterator[Line]:
    """Numbers with which something else seems to send."""
    for name, found in sharing(home, home.project.settings.senders).items():
        for what in found:
            yield Line(f"sender {name}", "warn", what, KINDS[Failure.sender_shared].mend)


def _number(name: str, pace: int, number: PhoneNumber) -> Line:
    found = (
        f"{number.verified_name or 'no name'}, {number.display_phone_number or number.id};"
        f" quality {number.quality or 'unknown'}, throughput {number.throughput or 'unknown'},"
        f" limit {number.messaging_limit or 'unknown'}"
    )
    allowed = THROUGHPUT.get(number.throughput or "")
    if number.quality == "RED":
        mend = "People block or report its messages: send less, to those who want it; Meta lowers the limit otherwise"
        return Line(f"sender {name}", "warn", found, mend)
    if allowed is not None and pace > allowed:
        mend = f"Write messages_per_second: {allowed} in estafette.yaml; Meta takes no more from this number"
        return Line(f"sender {name}", "warn", found, mend)
    return Line(f"sender {name}", "ok", found)


def _templates(home: Home) -> Iterator[Line]:
    files = list((home.path / "templates").glob("*.json"))
    pull = "Run `estafette templates pull`"
    if not files:
        yield Line("templates", "warn", "none are here", pull)
        return
    approved = sum(template.approved for template in home.project.templates.values())
    found = f"{len(home.project.templates)}, of which {approved} approved"
    age = home.wall() - max(file.stat().st_mtime for file in files)
    if age > FRESH.total_seconds():
        yield Line("templates", "warn", f"{found}; none has changed here for {age / 86400:.0f} days", pull)
    else:
        yield Line("templates", "ok", found)


def _contacts(home: Home) -> Iterator[Line]:
    if not home.contacts.loaded():
        yield Line("contacts", "warn", "none yet", "Run `estafette import FILE`")
        return
    default = home.project.settings.consent.default == "opted_in"
    phone, opted_in = pl.col("phone").is_not_null(), pl.col("opted_in").fill_null(default)
    willing = opted_in & (pl.col("opt_out_scope").is_null() | (pl.col("opt_out_scope") == "marketing"))
    found = (
        home.contacts.current(["phone", "opted_in", "opt_out_scope"])
        .select(all=pl.len(), phone=phone.sum(), willing=(phone & willing).sum())
        .collect()
        .row(0)
    )
    level: Level = "ok" if found[2] else "warn"
    text = f"{found[0]:,}; reachable (with a phone) {found[1]:,}; reachable and opted in {found[2]:,}"
    yield Line("contacts", level, text, "" if found[2] else "Nobody may be messaged; see opted_in in their file")


def _coupons(home: Home) -> Iterator[Line]:
    """The pools that live campaigns take codes from."""
    now = to_us(home.clock())
    for pool in dict.fromkeys(pool for one in home.project.live_campaigns().values() for pool in one.pools()):
        with home.ledger.read() as tx:
            found = left(tx, pool, now)
        expired = f", {found.expired:,} expired" if found.expired else ""
        mend = "" if found.free else f"Whoever gets no code gets no message: estafette import {pool}.csv"
        yield Line(f"coupons {pool}", "ok" if found.free else "warn", f"{found.free:,} free{expired}", mend)


def _links(home: Home) -> Iterator[Line]:
    """Where counted links lead, if any live campaign has some: `check` makes sure that they do."""
    messages = [step.message for one in home.project.live_campaigns().values() for step in one.message_steps().values()]
    buttons = [button for one in messages if isinstance(one, TemplateMessage) for button in one.buttons.values()]
    if any(isinstance(one, Link) for one in buttons):
        yield Line("links", "ok", f"taps are counted at {home.project.settings.links.base_url}/r/…")


def _landing(home: Home) -> Iterator[Line]:
    folder = home.paths.landing / "webhooks"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
        yield Line("landing", "ok", f"{home.paths.landing} can be written")


def _disk(home: Home) -> Iterator[Line]:
    free = max(0, disk_free(home))
    level: Level = "FAIL" if free < VERY_LOW else "warn" if free < LOW else "ok"
    yield Line(
        "disk", level, f"{free / (1 << 30):,.1f} GB free", "" if level == "ok" else KINDS[Failure.disk_full].mend
    )


def _work(home: Home) -> Iterator[Line]:
    with home.ledger.read() as tx:
        stopped = tx.execute(sa.select(campaigns).where(campaigns.c.stopped_at.is_not(None))).all()
        quarantined = int(tx.exec_driver_sql("SELECT count(*) FROM quarantine").scalar_one())
    for row in stopped:
        found = f"stopped {_when(home, row.stopped_at)}: {row.stopped_why}"
        yield Line(f"campaign {row.name}", "warn", found, KINDS[Failure.campaign_stopped].mend.format(name=row.name))
    for name, row in troubles(home.ledger).items():
        found = f"stands still since {_when(home, row.since)}: {row.doing} failed: {row.error}"
        yield Line(f"campaign {name}" if name else "inbox", "FAIL", found, KINDS[Failure.campaign_trouble].mend)
    for name, people in _left_inside(home).items():
        mend = KINDS[Failure.campaign_stranded].mend.format(name=name)
        yield Line(f"campaign {name}", "warn", f"{_why_not_live(home, name)}, with {people:,} people inside", mend)
    if quarantined:
        mend = KINDS[Failure.quarantine].mend
        yield Line("quarantine", "warn", f"{quarantined:,} things could not be read", mend)
    begun = unfinished(home)
    if begun is not None:
        mend = KINDS[Failure.half_forgotten].mend
        yield Line("forget", "FAIL", f"{begun.contact_id} is half forgotten", mend)
    elif is_due(home):
        mend = "A pass does it that begins while nobody sends; it takes as much room on the disk again"
        yield Line("forget", "warn", "the ledger's file is to be written anew, without what its pages still hold", mend)
    leases = home.ledger.leases()
    listed = "; ".join(f"{row.name}: {describe(row)}" for row in leases)
    yield Line("at work", "ok", listed or "nobody")


def _left_inside(home: Home) -> dict[str, int]:
    """How many people are inside campaigns that are not live: nobody of them moves."""
    live = home.project.live_campaigns()
    with home.ledger.read() as tx:
        gone = [name for name in tx.execute(sa.select(campaigns.c.name)).scalars() if name not in live]
        query = "SELECT count(*) FROM participant WHERE left_at IS NULL AND campaign = ?"
        counts = {name: int(tx.exec_driver_sql(query, (name,)).scalar_one()) for name in sorted(gone)}
    return {name: people for name, people in counts.items() if people}


def _why_not_live(home: Home, name: str) -> str:
    if name in home.project.holes:
        return "its file has an error"
    return "its file is a draft" if name in home.project.campaigns else "its file is gone"


def _when(home: Home, us: int) -> datetime:
    return civil_time(from_us(us), zone(home.project.settings.timezone)).replace(microsecond=0)


def _joined(where: str, message: str) -> str:
    return f"{where}: {message}" if where else message


def _draw(console: Console, lines: list[Line]) -> None:
    width = max(len(line.what) for line in lines)
    for line in lines:
        mark, style = show.MARKS[line.level]
        console.print(Text.assemble((mark, style), "  ", f"{line.what:{width}}  ", line.found), soft_wrap=True)
        if line.mend:
            console.print(Text.assemble(" " * (8 + width), ("→ ", style), line.mend), soft_wrap=True)


def _seen(home: Home) -> Iterator[Line]:
    """What passes and the gateway wrote down, and what does not come any more."""
    for one in failures(home, project_of(home), home.clock()):
        if one.kind in TOLD_HERE:
            level: Level = "FAIL" if one.known.grave else "warn"
            found = one.says(one.known.what, show.cell) + (f" {one.detail}" if one.detail else "")
            yield Line(TOLD_HERE[one.kind], level, found, one.says(one.known.mend, show.cell), place(one.entry))


TOLD_HERE = {
    Failure.pass_failed: "passes",
    Failure.no_pass_yet: "passes",
    Failure.no_pass: "passes",
    Failure.daemon_gone: "passes",
    Failure.segment_slow: "segments",
    Failure.template_held: "templates",
    Failure.work_dropped: "passes",
    Failure.several_daemons: "passes",
    Failure.gateway_down: "gateway",
    Failure.requests_refused: "requests",
    Failure.clock_back: "clock",
    Failure.webhooks_refused: "webhooks",
    Failure.not_kept: "webhooks",
    Failure.no_webhooks: "webhooks",
    Failure.sender_unreached: "sending",
    Failure.campaign_failing: "messages",
}
"""What no other look finds, and how the line is called."""

LOOKS = {
    _settings: "a-campaign-has-holes",
    _segments: "people-are-late-in-a-campaign",
    _secrets: "a-secret-is-missing",
    _senders: "a-sender-is-stopped",
    _shared: "something-else-sends-with-the-number",
    _limits: "the-messaging-limit-is-used-up",
    _templates: "a-template-is-held-back",
    look_at_ledger: "the-ledger-cant-be-used",
    look_at_lake: "the-lake-is-damaged",
    look_at_files: "the-lake-is-damaged",
    _contacts: "people-got-no-message",
    _coupons: "coupon-codes-run-out",
    _links: "people-got-no-message",
    _landing: "the-disk-is-full-or-closed",
    _disk: "the-disk-is-full-or-closed",
    _seen: "no-pass-is-made",
    _work: "a-campaign-is-stopped",
}
"""In the order in which they are shown, each with the runbook's entry about what it finds."""
