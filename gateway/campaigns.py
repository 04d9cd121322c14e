"""The pages of campaigns: all of them with their funnels, one with its journey, stopping and resuming.

What belongs here: the doors, and what they read. Lists and numbers come from the analyst database, at most a minute
old; whether a campaign is stopped comes from the ledger, and what it is from its file.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from gateway.answers import Refused
from gateway.daily import daily_view
from gateway.look import PageRoute, error_page, page, words_of
from gateway.signing_in import Visitor, read_form, signed_in
from gateway.store import Store
from gateway.words import Words
from journey.clock import from_us, to_us
from journey.codes import code_of
from journey.failures import Failure, Found

if TYPE_CHECKING:
    import duckdb

    from gateway.campaign_view import GraphView
    from journey.campaign import Campaign
    from journey.problems import Problem
    from resources.campaign_results import Results
    from resources.home import Home
    from resources.project import Project
    from resources.waiting_messages import Waiting

T = TypeVar("T")

STEPS = ("entered", "accepted", "delivered", "read", "replied", "failed")
ORDER = ("live", "stopped", "holes", "draft", "gone")
FRESH = 15.0  # seconds for which messages that wait are not counted again
REMEMBERED = 50  # results of one cut of the analyst database
SHOWN_ANSWERS = 12
MANY = 12  # campaigns above which the list begins with links to its parts
LONGEST_WHY = 300

Viewer = Annotated[Visitor, Depends(signed_in("viewer"))]
Operator = Annotated[Visitor, Depends(signed_in("operator"))]


@dataclass(frozen=True, slots=True)
class Card:
    """A campaign as it stands now. `state` is live, stopped, holes, draft or gone."""

    name: str
    state: str
    description: str
    version: str | None
    stopped_at: datetime | None
    stopped_why: str
    holes: Sequence["Problem"]
    campaign: "Campaign | None"
    trouble: str = ""  # an error of Estafette's own, for which it stands still

    @property
    def stopped_code(self) -> int | None:
        """The code of Meta's that stopped it, where one did."""
        return code_of(self.stopped_why)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the list shows; `at` is None where nothing was published yet."""

    cards: list[Card]
    funnels: Mapping[str, Mapping[str, int]]
    at: datetime | None
    zone: ZoneInfo
    wrong: Sequence[Found]


@dataclass(frozen=True, slots=True)
class Whole:
    """What one campaign's page shows; `card` is None where there is no such campaign."""

    card: Card | None
    results: "Results"
    at: datetime | None
    zone: ZoneInfo
    graph: "GraphView | None" = None
    waiting: Sequence["Waiting"] = ()
    wrong: Sequence[Found] = ()


class Counted:
    """Numbers from the analyst database, kept until it is published anew."""

    def __init__(self) -> None:
        self._lock, self._counting, self._cut = Lock(), Lock(), None
        self._known: OrderedDict[object, Any] = OrderedDict()
        self._waiting: dict[str, tuple[float, list[Waiting]]] = {}

    def ask(self, home: "Home", what: object, count: "Callable[[duckdb.DuckDBPyConnection], T]") -> T | None:
        """What `count` finds, known by `what`; None where nothing is published. In a thread."""
        from resources.analyst_db import connect

        path = home.paths.analytics
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        cut = (stat.st_ino, stat.st_mtime_ns)
        with self._lock:
            if self._cut != cut:
                self._cut = cut  # type: ignore[assignment]
                self._known.clear()
            if what in self._known:
                self._known.move_to_end(what)
                known: T = self._known[what]
                return known
        with self._counting:  # who comes second finds it counted
            with self._lock:
                if self._cut == cut and what in self._known:
                    again: T = self._known[what]
                    return again
            with connect(path) as con:
                found = count(con)
            with self._lock:
                if self._cut == cut:
                    self._known[what] = found
                    if len(self._known) > REMEMBERED:
                        self._known.popitem(last=False)
        return found

    def waiting(self, home: "Home", name: str, now: int) -> "list[Waiting]":
        """A campaign's messages that wait, by cause, from the ledger."""
        from resources.waiting_messages import waiting

        at, known = self._waiting.get(name, (float("-inf"), []))
        if time.monotonic() - at > FRESH:
            with home.ledger.read() as tx:
                known = waiting(tx, name, now)
            self._waiting[name] = (time.monotonic(), known)
        return known


def campaign_routes(store: Store) -> APIRouter:
    """The pages of campaigns."""
    routes = APIRouter(route_class=PageRoute)
    counted = Counted()

    @routes.get("/", include_in_schema=False, response_model=None)
    async def overview(request: Request, who: Viewer) -> Response:
        found = await store.count(lambda home: _overview(store, home, counted))
        request.state.words = Words(words_of(request).language, found.zone)
        return page(
            request,
            "campaigns.html",
            cards=found.cards,
            funnels=found.funnels,
            at=found.at,
            bars=STEPS,
            wrong=found.wrong,
            many=MANY,
            states=[(state, len(list(group))) for state, group in groupby(found.cards, key=lambda card: card.state)],
        )

    @routes.get("/campaigns/{name}", include_in_schema=False, response_model=None)
    async def one(name: str, request: Request, who: Viewer) -> Response:
        language = words_of(request).language
        found = await store.count(lambda home: _whole(store, home, counted, name, language))
        t = request.state.words = Words(language, found.zone)
        if found.card is None:
            return error_page(request, 404, t("no_campaign"))
        done = request.query_params.get("done", "")
        return page(
            request,
            "campaign.html",
            card=found.card,
            campaign=found.card.campaign,
            results=found.results,
            at=found.at,
            bars=STEPS,
            graph=found.graph,
            waiting=found.waiting,
            wrong=found.wrong,
            moment=from_us,
            skips=summed(found.results.skips),
            failures=summed(found.results.failures),
            answers=found.results.answers[:SHOWN_ANSWERS],
            daily=daily_view(found.results.daily),
            printed=False,
            done=f"was_{done}" if done in ("stopped", "resumed") else "",
        )

    @routes.get("/campaigns/{name}/stop", include_in_schema=False, response_model=None)
    @routes.get("/campaigns/{name}/resume", include_in_schema=False, response_model=None)
    async def confirm(name: str, request: Request, who: Operator) -> Response:
        verb = request.url.path.rpartition("/")[2]
        waiting = await store.read(lambda home: _waiting(store, home, name))
        if waiting is None:
            return error_page(request, 404, words_of(request)("no_campaign"))
        return page(request, "confirm.html", name=name, verb=verb, waiting=waiting[0], in_flight=waiting[1])

    @routes.post("/campaigns/{name}/stop", include_in_schema=False, response_model=None)
    async def stop(name: str, request: Request, who: Operator) -> Response:
        fields = await read_form(request, who.csrf)
        given = " ".join(fields.get("why", "").split())[:LONGEST_WHY]
        by = words_of(request)("stop_why_given", user=who.name)
        why = f"{given} ({by})" if given else by
        return await _change(store, request, name, "stopped", lambda home: _stop(store, home, name, why))

    @routes.post("/campaigns/{name}/resume", include_in_schema=False, response_model=None)
    async def resume(name: str, request: Request, who: Operator) -> Response:
        await read_form(request, who.csrf)
        return await _change(store, request, name, "resumed", lambda home: _resume(store, home, name))

    return routes


async def _change(
    store: Store, request: Request, name: str, done: str, change: "Callable[[Home], str | None]"
) -> Response:
    """Stops or resumes, then shows the campaign."""
    refused = await store.write(change)
    if refused is not None:
        raise Refused(404, words_of(request)("no_campaign")) if not refused else Refused(409, refused)
    return RedirectResponse(f"/campaigns/{quote(name, safe='')}?done={done}", 303)


# in threads


def _overview(store: Store, home: "Home", counted: Counted) -> Overview:
    from resources.campaign_results import funnels, published_at
    from resources.failures import failures

    project = store.project(home)
    cards = _cards(home, project)
    found = counted.ask(home, None, lambda con: (funnels(con), published_at(con)))
    cards += [
        _card(project, name, None) for name in sorted(set(found[0] if found else ()) - {one.name for one in cards})
    ]
    ran = found[0] if found else {}
    cards.sort(key=lambda card: (ORDER.index(card.state), not ran.get(card.name, {}).get("entered"), card.name))
    wrong = [one for one in failures(home, project, store.clock()) if one.known.concerns != "campaign"]
    zone = ZoneInfo(project.settings.timezone)
    return Overview(cards, found[0] if found else {}, found[1] if found else None, zone, wrong)


def _whole(store: Store, home: "Home", counted: Counted, name: str, language: str) -> Whole:
    from gateway.campaign_view import graph_view
    from journey.steps import ExperimentStep
    from resources.campaign_results import Results, campaign_results, published_at

    project = store.project(home)
    zone = ZoneInfo(project.settings.timezone)
    card = next((one for one in _cards(home, project) if one.name == name), None)
    if card is None:
        return Whole(None, Results(), None, zone)
    steps = card.campaign.steps if card.campaign is not None else {}
    experiments = tuple(step for step, one in steps.items() if isinstance(one, ExperimentStep))
    found = counted.ask(
        home, (name, experiments), lambda con: (campaign_results(con, name, experiments), published_at(con))
    )
    results = found[0] if found else Results()
    graph = graph_view(card.campaign, results, Words(language, zone)) if card.campaign is not None else None
    held = counted.waiting(home, name, to_us(store.clock()))
    return Whole(card, results, found[1] if found else None, zone, graph, held, _wrong(store, home, card))


def _wrong(store: Store, home: "Home", card: Card) -> list[Found]:
    """What is wrong now, as far as it concerns a campaign and the card does not say it with more about it."""
    from resources.failures import failures, of_campaign

    campaign = card.campaign
    found = failures(home, store.project(home), store.clock())
    pools = campaign.pools() if campaign is not None else ()
    found = of_campaign(found, card.name, campaign.sender if campaign is not None else None, pools)
    return [one for one in found if one.kind not in (Failure.campaign_stopped, Failure.campaign_holes)]


def _cards(home: "Home", project: "Project") -> list[Card]:
    """Every campaign that there is a file of, or that ever ran."""
    import sqlalchemy as sa

    from resources.containing import troubles
    from resources.tables import campaign as campaigns

    with home.ledger.read() as tx:
        rows = {row.name: row for row in tx.execute(sa.select(campaigns)).all()}
    names = sorted({*rows, *project.campaigns, *project.holes})
    found = {name: f"{row.doing}: {row.error}" for name, row in troubles(home.ledger).items()}
    return [_card(project, name, rows.get(name), found.get(name, "")) for name in names]


def _card(project: "Project", name: str, row: Any, trouble: str = "") -> Card:
    campaign, holes = project.campaigns.get(name), project.holes.get(name, [])
    stopped = row is not None and row.stopped_at is not None
    if campaign is None and not holes:
        state = "gone"
    elif stopped:
        state = "stopped"
    elif holes:
        state = "holes"
    else:
        state = "draft" if campaign is not None and campaign.draft else "live"
    return Card(
        name,
        state,
        campaign.description if campaign is not None else "",
        row.version if row is not None else campaign.version if campaign is not None else None,
        from_us(row.stopped_at) if stopped else None,
        (row.stopped_why or "") if stopped else "",
        holes,
        campaign,
        trouble,
    )


def _waiting(store: Store, home: "Home", name: str) -> tuple[int, int] | None:
    from resources.stopping import waiting_messages

    if all(one.name != name for one in _cards(home, store.project(home))):
        return None
    with home.ledger.read() as tx:
        return waiting_messages(tx, name)


def _stop(store: Store, home: "Home", name: str, why: str) -> str | None:
    """None: done. Empty: there is no such campaign. Else a sentence that says why not."""
    from journey.problems import EstafetteError
    from resources.stopping import stop_campaign

    if _waiting(store, home, name) is None:
        return ""
    try:
        stop_campaign(home.ledger, store.project(home), name, why, to_us(store.clock()))
    except EstafetteError as error:
        return f"{error}."
    return None


def _resume(store: Store, home: "Home", name: str) -> str | None:
    """As `_stop`."""
    from resources.stopping import resume_campaign

    if _waiting(store, home, name) is None:
        return ""
    resume_campaign(home.ledger, store.project(home), name, to_us(store.clock()))
    return None


def summed(by_step: Mapping[tuple[str, Any], int]) -> list[tuple[Any, int, list[tuple[str, int]]]]:
    """What was counted by (step, reason), by reason: (reason, count, its steps), the largest first."""
    found: dict[Any, list[tuple[str, int]]] = {}
    for (step, reason), count in by_step.items():
        found.setdefault(reason, []).append((step, count))
    rows = [(reason, sum(count for _, count in steps), steps) for reason, steps in found.items()]
    return sorted(rows, key=lambda row: (-row[1], str(row[0])))
