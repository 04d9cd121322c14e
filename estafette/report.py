"""`report`: what a campaign has come to, as tables on the terminal or one HTML file.

What belongs here: the document of it, and how it looks on a terminal. It shows what was last published for analysts, as
`query` does; the counting is `resources.campaign_results`, the HTML file `gateway.report`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console

from estafette import show
from estafette.session import Session
from gateway.campaigns import summed
from gateway.report import report_html
from journey.clock import civil_time
from journey.codes import explain
from journey.problems import EstafetteError
from journey.reasons import SKIPS
from journey.steps import ExperimentStep
from journey.words import SkipReason
from resources.analyst_db import connect
from resources.campaign_results import Results, campaign_results, published_at
from resources.stopping import known

SHOWN_ANSWERS = 12


def report(session: Session, name: str, html: Path | None, language: str) -> None:
    """Show a campaign's results, and write them as an HTML file. EstafetteError: there is no such campaign, nothing
    was published yet, or the file can't be written."""
    with session.open() as home:
        campaign = home.project.campaigns.get(name)
        path, timezone = home.paths.analytics, home.project.settings.timezone
        if not path.is_file():
            raise EstafetteError("nothing has been published yet", mend="Run `estafette tick`, which publishes")
        steps = campaign.steps if campaign is not None else {}
        experiments = tuple(step for step, one in steps.items() if isinstance(one, ExperimentStep))
        with connect(path) as con:
            found, at = campaign_results(con, name, experiments), published_at(con)
        if campaign is None and not found.funnel and not found.control:
            known(home.project, name)
    if html is not None:
        text = report_html(name, campaign, found, at, ZoneInfo(timezone), language)
        try:
            html.write_text(text, encoding="utf-8")
        except OSError as error:
            raise EstafetteError(f"{html} can't be written: {error.strerror}", mend="Name another file") from None
    written = str(html) if html is not None else None
    document = {"campaign": name, "published_at": at, "file": written, **_document(found)}
    when = f"{civil_time(at, ZoneInfo(timezone)):%Y-%m-%d %H:%M} {timezone}"
    session.show(document, lambda console: _draw(console, found, name, when, written))


def _document(found: Results) -> dict[str, Any]:
    return {
        "funnel": dict(found.funnel),
        "control": found.control,
        "inside": sum(found.here.values()),
        "steps": [{"step": step, **counts} for step, counts in found.steps.items()],
        "branches": [
            {"from_step": start, "branch": branch, "to_step": target, "people": number}
            for (start, branch, target), number in found.moves.items()
        ],
        "skips": _counted(found.skips, "reason"),
        "failures": _counted(found.failures, "code"),
        "answers": [
            {"step": one.step, "kind": one.kind, "text": one.text, "people": one.people, "late": one.late}
            for one in found.answers
        ],
        "left": dict(found.left),
        "lift": [
            {
                "goal": one.goal, "treated": one.treated, "treated_reached": one.treated_reached,
                "control": one.control, "control_reached": one.control_reached, "difference": one.difference,
                "low": one.low, "high": one.high, "value": one.value,
            }
            for one in found.lift
        ],
        "arms": [
            {"step": one.step, "arm": one.arm, "passages": one.passages, "read": one.read, "replied": one.replied,
             "reached_goal": one.reached}
            for one in found.arms
        ],
        "costs": [
            {"category": category, "currency": currency, "price_source": source, "messages": messages, "price": price}
            for category, currency, source, messages, price in found.costs
        ],
        "daily": [
            {"day": day, "accepted": accepted, "read": read, "replied": replied}
            for day, accepted, read, replied in found.daily
        ],
    }  # fmt: skip


def _counted(found: Mapping[tuple[str, Any], int], name: str) -> list[dict[str, Any]]:
    return [{"step": step, name: key, "messages": number} for (step, key), number in found.items()]


def _draw(out: Console, found: Results, name: str, when: str, written: str | None) -> None:
    out.print(f"{name}, as of {when}")
    if not found.funnel.get("entered"):
        out.print("Nobody has entered yet.")
    else:
        out.print(show.funnel(found.funnel))
    _table(out, "By step", ["step", "entered", "planned", "skipped", "accepted", "delivered", "read", "replied"], [
        [step, *(counts[one] for one in ("entered", "planned", "skipped", "accepted", "delivered", "read", "replied"))]
        for step, counts in found.steps.items()
    ])  # fmt: skip
    _table(out, "Branches", ["from", "branch", "to", "people"], [
        [start, branch, target, number] for (start, branch, target), number in found.moves.items()
    ])  # fmt: skip
    _table(out, "Not sent", ["reason", "messages", "meaning"], [
        [reason, number, SKIPS[SkipReason(reason)].what if reason in set(SkipReason) else ""]
        for reason, number, _ in summed(found.skips)
    ])  # fmt: skip
    _table(out, "Failed", ["code", "messages", "meaning"], [
        ["no code" if code is None else str(code), number, explain(code).title]
        for code, number, _ in summed(found.failures)
    ])  # fmt: skip
    _table(out, "Answers", ["step", "answer", "people", "late"], [
        [one.step or "", one.text or one.kind, one.people, one.late] for one in found.answers[:SHOWN_ANSWERS]
    ])  # fmt: skip
    _table(out, "Goals", ["goal", "treated", "control", "difference", "worth"], [
        [one.goal, _rate(one.treated_reached, one.treated), _rate(one.control_reached, one.control),
         _difference(one.difference, one.low, one.high), "" if one.value is None else f"{one.value:,.2f}"]
        for one in found.lift
    ])  # fmt: skip
    _table(out, "Experiments", ["step", "arm", "passages", "read", "replied", "reached a goal"], [
        [one.step, one.arm, one.passages, _rate(one.read, one.passages), _rate(one.replied, one.passages),
         _rate(one.reached, one.passages)]
        for one in found.arms
    ])  # fmt: skip
    _table(out, "Costs", ["category", "messages", "price"], [
        [category or "free text", messages, "not priced" if price is None else f"{price:,.2f} {currency} ({source})"]
        for category, currency, source, messages, price in found.costs
    ])  # fmt: skip
    if written is not None:
        out.print(f"Written to {written}.")


def _table(out: Console, title: str, columns: list[str], rows: list[list[Any]]) -> None:
    if rows:
        show.heading(out, title)
        out.print(show.table(columns, rows))


def _rate(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part:,} of {whole:,})" if whole else ""


def _difference(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return ""
    return f"{value * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f})"
