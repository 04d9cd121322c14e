"""`plan`: what a run would do now, without doing it.

What belongs here: refusing what can't be planned, the rehearsal on a throw-away home, how its document looks, and
keeping it in a folder. The real home is only read; a pass may be at work on it meanwhile.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from estafette import show
from estafette.checking import describe_state
from estafette.plan_document import document, show_seconds
from estafette.plan_limit import limit_lines
from estafette.session import Session, console
from journey.clock import civil_time, zone
from journey.problems import EstafetteError, ProjectError, UsageError
from pipelines.rehearse import Rehearsal, bodies, rehearse
from resources.home import Home
from resources.landing import Landing
from resources.stopping import known
from resources.throwaway import ThrowAway, throwaway

KEPT = ("summary.json", "messages.parquet", "skips.parquet", "entries.parquet")
UNKNOWN_STATES = {
    "draft": "It is a draft: a real run refuses it until `draft: true` is gone.",
    "stopped": "It is stopped: a real run refuses it until `estafette resume {name}`.",
}


def plan(session: Session, name: str, out: Path | None) -> None:
    """Plan a campaign. EstafetteError: it can't be planned, and why."""
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError("it is a file", where=str(out), mend="Name a folder; it is made where it is not there")
    with session.open(settings=False) as home, throwaway(home) as copy:
        _ = copy.project.settings
        known(copy.project, name)
        if name in copy.project.holes:
            raise ProjectError(copy.project.holes[name])
        campaign = copy.project.campaigns[name]
        if all(entry.kind == "api" for entry in campaign.entries):
            said = f"{name} is entered by the API only: who comes in can't be known ahead, so there is nothing to plan."
            session.show({"campaign": name, "plannable": False, "notes": [said]}, lambda out: out.print(said))
            return
        before = list(_remarks(home, copy, name))
        with show.progress(console(stderr=True), f"planning {name}", lambda: _progress(copy, name)):
            found = rehearse(copy, name)
        told = {"plannable": True, **document(copy, found)}
        told["notes"] = [*before, *told["notes"]]
        if out is not None:
            told["kept_in"] = str(out)
            _keep(copy, found, told, out)
        timezone = copy.project.settings.timezone
    session.show(told, lambda to: _draw(to, told, timezone))


def _remarks(home: Home, copy: ThrowAway, name: str) -> Iterator[str]:
    """What stands between this plan and a real run, or makes it another one."""
    state = describe_state(copy, name)
    if state in UNKNOWN_STATES:
        yield UNKNOWN_STATES[state].format(name=name)
    pending = Landing(home.paths.landing, copy.ledger).pending(home.wall())
    if pending:
        files = "1 file in landing/ has" if len(pending) == 1 else f"{len(pending):,} files in landing/ have"
        yield f"{files} not been taken in; a real run takes that in first."


def _progress(copy: ThrowAway, name: str) -> tuple[int, int]:
    with copy.ledger.read() as tx:
        row = tx.exec_driver_sql(
            "SELECT (SELECT count(*) FROM message WHERE campaign = :name) + (SELECT count(*) FROM skip WHERE"
            " campaign = :name), (SELECT count(*) FROM participant WHERE campaign = :name)",
            {"name": name},
        ).one()
    return min(int(row[0]), int(row[1])), int(row[1])


# -- keeping it ------------------------------------------------------------------------------------------------------


def _keep(copy: ThrowAway, found: Rehearsal, told: Mapping[str, Any], out: Path) -> None:
    """Write the document, the messages with their bodies, the skips and the entries into `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(told, ensure_ascii=False, indent=2, default=_plain)
        messages = bodies(copy, found.messages).with_columns(
            price=(pl.col("price").cast(pl.Decimal(38, 6)) * pl.lit("0.000001").cast(pl.Decimal(38, 6))).cast(
                pl.Decimal(18, 6)
            )
        )
        frames = {
            "messages.parquet": messages.drop("message_id", "participant_id", "body_file", "body_row"),
            "skips.parquet": found.skips.drop("participant_id"),
            "entries.parquet": found.entries.drop("participant_id"),
        }
        for file, frame in frames.items():
            frame.write_parquet(out / file)
        (out / KEPT[0]).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EstafetteError(
            f"the plan can't be kept: {error.strerror or error}", where=str(out), mend="Name another folder"
        ) from error


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# -- how it looks ----------------------------------------------------------------------------------------------------


def _draw(out: Console, told: Mapping[str, Any], timezone: str) -> None:
    def local(time: datetime | None) -> str:
        return "" if time is None else f"{civil_time(time, zone(timezone)):%Y-%m-%d %H:%M}"

    out.print(f"{told['campaign']}, if it ran at {local(told['now'])} ({timezone}). Nothing was sent or written.")
    for one in told["audiences"]:
        unknown = "1 row" if one["left_out"] == 1 else f"{one['left_out']:,} rows"
        left_out = f"; left out: {unknown} without a known contact" if one["left_out"] else ""
        out.print(f"Audience {one['segment']}: {one['people']:,} people{left_out}")
    out.print(
        show.funnel({"met": sum(told["outcomes"].values()), "entered": told["entered"], "messages": told["messages"]})
    )
    if told["control"]:
        out.print(f"Control group: {told['control']:,} of them, never messaged.")
    if told["refused"]:
        rows = [[one["outcome"], one["people"], one["detail"]] for one in told["refused"]]
        out.print(show.table(["did not enter", "people", "detail"], rows))
    if told["by_branch"]:
        columns = ["message", "after", "template", "language", "category", "messages", "held"]
        rows = [
            [
                r["step"],
                r["path"] or "entering",
                r["template"] or "(text)",
                r["language"],
                r["category"],
                r["messages"],
                r["held"],
            ]
            for r in told["by_branch"]
        ]
        out.print(show.table(columns, rows))
    if told["skipped"]:
        rows = [[one["step"], one["reason"], one["people"], _details(one)] for one in told["skipped"]]
        out.print(show.table(["skipped at", "reason", "people", "detail"], rows))
    if told["held"]:
        rows = [
            ["; ".join([one["why"], *one["urls"]]), one["messages"], local(one["first"]), local(one["until"])]
            for one in told["held"]
        ]
        out.print(show.table(["held by", "messages", "go out from", "given up by"], rows))
    if told["waiting"]:
        rows = [
            [one["step"], one["kind"], one["people"], local(one["first"]), local(one["last"])]
            for one in told["waiting"]
        ]
        out.print(show.table(["waits at", "kind", "people", "from", "until"], rows))
    if told["left"]:
        out.print(show.counts("Would leave at once", told["left"]))
    if told["later"]:
        rows = [[one["step"], f"up to {one['people_at_most']:,}", _how(one)] for one in told["later"]]
        out.print(show.table(["later message", "people", ""], rows))
    if told["coupons"]:
        keys = ("pool", "free", "needed", "left", "lacking", "later_at_most")
        out.print(
            show.table(
                ["coupons", "free now", "needed", "left then", "lacking", "later, up to"],
                [[one[key] for key in keys] for one in told["coupons"]],
            )
        )
    if told["cost"]:
        rows = [
            [r["market"], r["category"] or "(text)", r["messages"], _money(r["price"]), r["currency"]]
            for r in told["cost"]
        ]
        out.print(show.table(["market", "category", "messages", "price, at most", ""], rows))
    totals = ", ".join(f"{_money(price)} {currency}" for currency, price in told["total"].items())
    later = ", ".join(f"{_money(price)} {currency}" for currency, price in told["later_cost_at_most"].items())
    if totals:
        out.print(f"Cost: {totals} at most" + (f"; later messages add up to {later}" if later else "") + ".")
    pace = told["duration"]
    if pace["messages"]:
        behind = f", behind {pace['waiting_already']:,} that wait already" if pace["waiting_already"] else ""
        length = show_seconds(pace["seconds"]) if pace["seconds"] is not None else "no end: its pace is 0"
        out.print(f"Sending takes {length} at {pace['messages_per_second']:g} a second ({pace['sender']}){behind}.")
    for line in limit_lines(told["messaging_limit"]):
        out.print(line, soft_wrap=True)
    for note in told["notes"]:
        out.print(note, style="yellow", soft_wrap=True)
    if told.get("kept_in"):
        out.print(f"Kept in {told['kept_in']}: {', '.join(KEPT)}", soft_wrap=True)


def _details(one: Mapping[str, Any]) -> str:
    listed = [f"{row['detail']} ({row['people']:,})" for row in one["details"] if row["detail"] is not None]
    return "; ".join(listed) + (f"; {one['more_details']:,} more" if one["more_details"] else "")


def _how(one: Mapping[str, Any]) -> str:
    told = "only after a skip or a failure" if one["only_after_a_skip_or_failure"] else "after a message or a wait"
    return told + (", each time round" if one["again_and_again"] else "")


def _money(price: float | None) -> str:
    return "" if price is None else f"{price:,.2f}"
