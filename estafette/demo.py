"""`demo`: the main job on made-up people against the sandbox, from import to tables, in two turned days.

What belongs here: the play, in the order in which a newcomer would do it by hand, and the audit at its end: what the
sandbox received must be what the ledger says. Everything is real but the people and Meta: the gateway and the sandbox
listen on free ports of this machine, and passes are the job that the daemon runs. This room imports Dagster.
"""

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import SecretStr
from rich.console import Console

from estafette import population, scaffold, show
from estafette.intake import take_in
from estafette.lease import passing
from estafette.running import draw_funnel, follow, runnable
from estafette.session import SETTINGS, Session, console
from estafette.ticking import one_pass
from gateway.app import address, config, create_app, listen
from journey.problems import EstafetteError, ProjectError
from resources.analyst_query import query
from resources.home import Home
from resources.landing_import import import_files
from resources.template_cache import pull
from sandbox.config import Config
from sandbox.testing import Box, running

START = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
DAYS = 2
CAMPAIGN, ORDERS = "autumn_offer", "order_ready"
READY = 40  # orders
MARK = ".made-by-estafette-demo"
FOLDER = ".demo"
STANDARD, PACE = 80, 600  # messages a second, so that nobody waits for a demo; one lane carries it
SECRET, TOKEN = "demo-secret", "demo-token"
KEPT_OUT = ("ESTAFETTE_LEDGER_URL", "ESTAFETTE_NOW", "ESTAFETTE_HOME")
BRANCHES = (
    "SELECT from_step, branch, to_step, count(*) AS people FROM participant_steps"
    f" WHERE campaign = '{CAMPAIGN}' AND from_step IS NOT NULL GROUP BY ALL ORDER BY people DESC"
)
LIFT = (
    "SELECT goal, treated, treated_reached, control, control_reached, round(100 * difference, 1) AS points_more,"
    f" round(100 * low, 1) AS low, round(100 * high, 1) AS high FROM lift WHERE campaign = '{CAMPAIGN}'"
)
STEPS = f"SELECT * EXCLUDE (campaign) FROM step_funnel WHERE campaign = '{CAMPAIGN}' ORDER BY planned DESC"
TRY = "SELECT template, state, count(*) AS messages FROM messages GROUP BY ALL ORDER BY messages DESC"


def demo(session: Session, people: int) -> None:
    """Play it in --home or .demo/. EstafetteError: the folder is not the demo's, or the audit finds a difference."""
    folder = Path(session.given_home or FOLDER).resolve()
    began, told = time.monotonic(), _Teller(console(stderr=session.json), time.monotonic())
    _fresh(folder)
    told(f"A new home in {folder}")
    with _world(folder) as (box, now):
        own = Session(str(folder), None, session.json)
        document = _play(own, box, now, people, told)
    _pace(folder, PACE, STANDARD)
    document |= {"home": str(folder), "seconds": round(time.monotonic() - began, 1)}
    session.show(document, lambda out: _draw(out, folder, document))
    if document["audit"]["differences"]:
        raise EstafetteError(
            "; ".join(document["audit"]["differences"]), mend="This is a fault of Estafette: report it"
        )


class _Now:
    """The demo's clock, which the gateway asks."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


class _Teller:
    """Tells what is being done, with the seconds since the start."""

    def __init__(self, out: Console, began: float) -> None:
        self.out, self.began = out, began

    def __call__(self, text: str) -> None:
        self.out.print(f"{time.monotonic() - self.began:5.1f} s  {text}")


def _play(session: Session, box: Box, now: _Now, people: int, told: _Teller) -> dict[str, Any]:
    session = replace(session, given_now=now.at.isoformat())
    with session.open() as home:
        rows = _import(home, people)
        pulled = pull(home)
        problems = [one for one in home.project.problems if one.level == "error"]
        if problems:
            raise ProjectError(problems)
        came = f"{rows['contacts']:,} contacts and {rows['events']:,} purchases"
        told(f"Imported {came}; {rows['bad']:,} cells and rows aside")
        told(f"Pulled {pulled.templates} templates; `estafette check` finds nothing wrong")
        ids = follow(session, home, runnable(home, CAMPAIGN))
    told(f"Ran {CAMPAIGN} on {now.at:%A %H:%M}: {ids['entered']:,} entered, {ids['accepted']:,} messages accepted")
    for _ in range(DAYS):
        now.at += timedelta(days=1)
        before = len(box.accepted(bodies=False))
        _turn(box, now)
        session = replace(session, given_now=now.at.isoformat())
        with session.open() as home:
            one_pass(session, home, home.path)
        sent = len(box.accepted(bodies=False)) - before
        told(f"{now.at:%A}: people had read, or not; {sent:,} follow-ups accepted")
    now.at += timedelta(hours=6)
    _turn(box, now)
    session = replace(session, given_now=now.at.isoformat())
    with session.open() as home:
        before = len(box.accepted(bodies=False))
        bought, ready = _happens(home, now.at)
        one_pass(session, home, home.path)
        sent = len(box.accepted(bodies=False)) - before
        told(f"{ready} orders are ready in the shop: {sent} messages went out at once, by the trigger of {ORDERS}")
        told(f"{bought} purchases came in, and count for the goal of {CAMPAIGN}, its control group included")
        return {
            "run": ids,
            "steps": _rows(home, STEPS),
            "branches": _rows(home, BRANCHES),
            "lift": _rows(home, LIFT),
            "audit": audit(home, box),
            "now": now.at,
        }


def _import(home: Home, people: int) -> dict[str, int]:
    """Write the population's two files, and import them as `estafette import` does."""
    made = population.make(people, START)
    folder = home.path / "sample"
    folder.mkdir()
    files = {folder / "contacts.csv": made.contacts, folder / "purchases.ndjson": made.events}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    import_files(home.paths.landing, list(files))
    with passing(home.ledger, "demo", lambda _: None) as lease:
        taken = take_in(home, lease)
    home.reload()
    new = {kind: sum(one.new for one in taken if one.kind == kind) for kind in ("contacts", "events")}
    return {**new, "bad": sum(one.quarantined for one in taken)}


def _happens(home: Home, at: datetime) -> tuple[int, int]:
    """What people do besides: some buy, and some orders are ready; the next pass finds it. Gives how many of each."""
    with home.ledger.read() as tx:
        rows = tx.exec_driver_sql(
            "SELECT p.contact_id, EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id AND m.read_at > 0)"
            " AS reader, p.reason = 'control' AS control FROM participant p WHERE p.campaign = ? ORDER BY p.id",
            (CAMPAIGN,),
        ).all()
    readers = [row.contact_id for row in rows if row.reader]
    waiting = [row.contact_id for row in rows if row.control][:READY]
    folder, landing = home.path / "sample", home.paths.landing / "events"
    files = {
        "purchases_after.ndjson": population.purchases(readers, [r.contact_id for r in rows if not r.reader], at),
        "orders.ndjson": population.orders(waiting, at),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        shutil.copyfile(folder / name, landing / f".{name}")
        (landing / f".{name}").rename(landing / name)
    return files["purchases_after.ndjson"].count("\n"), len(waiting)


def _turn(box: Box, now: _Now) -> None:
    """Let people live until `now`: the sandbox posts what they do to the gateway, signed, and it is on disk then."""
    box.turn(now.at.isoformat())
    box.drain()


def _rows(home: Home, sql: str) -> list[dict[str, Any]]:
    result = query(home.paths.analytics, sql, timezone=home.project.settings.timezone)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def audit(home: Home, box: Box) -> dict[str, Any]:
    """What the sandbox received against what the ledger says."""
    received = box.accepted(bodies=False)
    copies = Counter((row["to"], row["template"]) for row in received)
    twice = sum(number > 1 for number in copies.values())
    there = {row["wamid"] for row in received}
    with home.ledger.read() as tx:
        ours = set(tx.exec_driver_sql("SELECT wamid FROM message WHERE accepted_at IS NOT NULL").scalars().all())
        read = int(tx.exec_driver_sql("SELECT count(*) FROM message WHERE read_at IS NOT NULL").scalar_one())
        unsettled = int(
            tx.exec_driver_sql("SELECT count(*) FROM message WHERE state IN ('attempted', 'unknown')").scalar_one()
        )
    reads = len({row["wamid"] for row in box.statuses() if row["status"] == "read"})
    differences = [
        text
        for wrong, text in (
            (twice, f"{twice} people got a message twice"),
            (there - ours, f"{len(there - ours)} messages went out that the ledger does not know as accepted"),
            (ours - there, f"{len(ours - there)} messages are accepted in the ledger only"),
            (read != reads, f"{reads} messages were read, and {read} are known as read"),
            (unsettled, f"{unsettled} messages are not settled"),
        )
        if wrong
    ]
    return {
        "people": len({to for to, _ in copies}),
        "received": len(received),
        "accepted": len(ours),
        "read": read,
        "messaged_twice": twice,
        "differences": differences,
    }


def _fresh(folder: Path) -> None:
    """A new home, in place of one that an earlier demo made. EstafetteError where the folder is anything else."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        if not (folder / MARK).is_file():
            raise EstafetteError(
                f"{folder} is not empty, and no demo made it",
                mend="Name another folder with --home, or none for .demo/",
            )
        shutil.rmtree(folder)
    scaffold.make(folder, templates=False)
    (folder / MARK).write_text("`estafette demo` deletes this folder and makes it again.\n", encoding="utf-8")
    shutil.copyfile(folder / ".env.example", folder / ".env")
    _pace(folder, STANDARD, PACE)


def _pace(folder: Path, old: int, new: int) -> None:
    settings = folder / SETTINGS
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace(f"messages_per_second: {old}", f"messages_per_second: {new}"), encoding="utf-8")


@contextmanager
def _world(folder: Path) -> Iterator[tuple[Box, _Now]]:
    """A gateway for the home, and a sandbox that talks to it; the environment points at both."""
    now = _Now()
    app = create_app(folder, app_secret=SecretStr(SECRET), verify_token=None, clock=now)
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(config(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="gateway", daemon=True)
        thread.start()
        callback = f"{address(listening)}/webhooks/whatsapp"
        settings = Config(
            port=0,
            token=TOKEN,
            app_secret=SECRET,
            callback=callback,
            now=START.isoformat(),
            rate=1000,
            keep_bodies=True,
        )
        try:
            with running(settings) as box, _environment({"WHATSAPP_API_URL": box.url, "WHATSAPP_TOKEN": TOKEN}):
                yield box, now
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """The environment for the block: nothing of the caller's own installation is used, whatever is set."""
    before = {name: os.environ.get(name) for name in (*values, *KEPT_OUT)}
    for name in KEPT_OUT:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _draw(out: Console, folder: Path, found: dict[str, Any]) -> None:
    show.heading(out, "The first day")
    draw_funnel(out, found["run"])
    tables = {"Step by step": found["steps"], "Who went where": found["branches"], "What it brought": found["lift"]}
    for title, rows in tables.items():
        show.heading(out, title)
        if rows:
            out.print(show.table(list(rows[0]), [list(row.values()) for row in rows]))
    show.heading(out, "Audit")
    audited = found["audit"]
    if audited["differences"]:
        out.print("\n".join(audited["differences"]), style="bold red")
    else:
        received = f"The sandbox received {audited['received']:,} messages to {audited['people']:,} people"
        out.print(f"{received}; the ledger says the same. Nobody got one twice.")
    show.heading(out, "Where to look")
    home, estafette = os.path.relpath(folder), _command()
    for what, command in (
        ("Ask the tables", f'{estafette} query --home {home} "{TRY}"'),
        ("Who stands where", f"{estafette} status --home {home}"),
        ("One message", f"{estafette} preview {CAMPAIGN} --contact c000001 --home {home}"),
        ("One person", f"{estafette} why c000001 --home {home}"),
        ("A dry run", f"{estafette} plan {CAMPAIGN} --home {home}"),
        ("Make a user", f"{estafette} users add you --role operator --home {home}"),
        ("See the pages", f"{estafette} serve --home {home}   # http://127.0.0.1:8000"),
        ("Runs and assets", f"make dev ESTAFETTE_HOME={home}   # Dagster's pages on http://127.0.0.1:3000"),
        ("The campaign", f"{home}/campaigns/{CAMPAIGN}.yaml"),
        ("The tables", f"{home}/data/analytics.duckdb   # any DuckDB client, any time"),
    ):
        out.print(f"{what:17} {command}", soft_wrap=True)
    out.print(f"{found['seconds']} s", style="dim")


def _command() -> str:
    """How the one who reads this calls us: by name where a shell finds it, else by path."""
    script = Path(sys.executable).parent / "estafette"
    return "estafette" if shutil.which("estafette") or not script.exists() else os.path.relpath(script)
