"""For operators: `GET /healthz` and `GET /metrics`.

What belongs here: whether the gateway can do its work, and the numbers of `resources.vitals` in Prometheus' text
format. Numbers are kept for some seconds, longer where they are dear, so that whoever scrapes costs nothing.

A load balancer hears whether all is well and nothing else. Details are for whoever asks on this machine itself, or with
a token of the API: sizes and failures of campaigns are nobody else's business.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway.access import is_near, offers_token
from gateway.answers import Refused
from gateway.log import Clock
from gateway.refusals import Refusals
from gateway.store import Store
from journey.failures import Failure, Found, place

if TYPE_CHECKING:
    from resources.home import Home
    from resources.vitals import Vitals

KEPT = 5.0  # seconds that numbers are kept
SHARE = 20.0  # or so many times what it took to count them
TEXT = "text/plain; version=0.0.4; charset=utf-8"

UP = "Whether the ledger can be read."

Labels = Mapping[str, str]


class Health:
    """What the two doors say. `directory` is where deliveries are kept."""

    def __init__(self, store: Store, directory: Path, clock: Clock, refusals: Refusals) -> None:
        self._store, self._directory, self._clock, self._refusals = store, directory, clock, refusals
        self._looking = asyncio.Lock()
        self._ledger: tuple[str | None, float | None] = (None, None)
        self._ledger_at = self._text_at = float("-inf")
        self._text, self._text_for = "", KEPT

    async def healthz(self, request: Request) -> Response:
        """Whether deliveries can be kept, the ledger can be read, and how long ago a pass worked. Strangers hear one
        word."""
        told = is_near(request)
        if not told and offers_token(request):
            await request.app.state.access.token(request)
            told = True
        try:
            await asyncio.to_thread(_try_disk, self._directory)
            disk = None
        except OSError as error:
            disk = error.strerror or str(error)
        ledger, age = await self._ask_ledger()
        document: dict[str, Any] = {"status": "unwell" if disk or ledger else "ok"}
        if told:
            document |= {
                "disk": disk or "writable",
                "ledger": ledger or ("reachable" if self._there() else "not there yet"),
                "last_pass_seconds": None if age is None else round(age, 1),
            }
        return JSONResponse(document, 503 if disk or ledger else 200)

    async def metrics(self, request: Request) -> Response:
        """The numbers, as Prometheus reads them. Refused (401, 429): a stranger asks without a token."""
        if not is_near(request):
            await request.app.state.access.token(request)
        async with self._looking:
            if time.monotonic() - self._text_at > self._text_for:
                began = time.monotonic()
                try:
                    self._text = await self._count()
                except Refused as error:
                    self._text = exposition([("estafette_up", UP, [({}, 0)])])
                    self._text += f"# {' '.join(error.sentence.split())}\n"
                self._text_at = time.monotonic()
                self._text_for = max(KEPT, SHARE * (self._text_at - began))
            return PlainTextResponse(self._text, media_type=TEXT)

    def _there(self) -> bool:
        return (self._store.path / "estafette.yaml").is_file()

    async def _count(self) -> str:
        if not self._there():
            raise Refused(503, "There is no project home.")

        def look(home: "Home") -> "tuple[Vitals, int, list[Found]]":
            from resources.failures import failures
            from resources.vitals import disk_free, vitals

            try:
                project = self._store.project(home)
            except Refused:  # that it can't be read is one of the failures
                project = None
            return vitals(home, self._clock()), disk_free(home), failures(home, project, self._clock())

        found = await self._store.read(look, 60.0)
        return exposition(families(*found, self._refusals.webhooks, self._refusals.answers))

    async def _ask_ledger(self) -> tuple[str | None, float | None]:
        """(what is wrong with the ledger, seconds since a pass worked)."""
        if not self._there():
            return None, None
        if time.monotonic() - self._ledger_at > 1.0:

            def look(home: "Home") -> float | None:
                from resources.vitals import pass_age

                return pass_age(home)

            try:
                self._ledger = (None, await self._store.glance(look, 5.0))
            except Refused as error:
                self._ledger = (error.sentence, None)
            self._ledger_at = time.monotonic()
        return self._ledger


def health_routes(health: Health) -> APIRouter:
    """The two doors for operators."""
    routes = APIRouter()
    methods = ["GET", "HEAD"]  # load balancers ask either way
    routes.add_api_route("/healthz", health.healthz, methods=methods, response_model=None, include_in_schema=False)
    routes.add_api_route("/metrics", health.metrics, response_model=None, include_in_schema=False)
    return routes


Family = tuple[str, str, list[tuple[Labels, float]]]


def families(
    vitals: "Vitals",
    free: int,
    found: Sequence[Found] = (),
    webhooks: Mapping[str, int] | None = None,
    answers: Mapping[int, int] | None = None,
) -> list[Family]:
    """Every metric: its name, what it is, and its samples."""
    wrong = {str(kind): sum(one.count for one in found if one.kind == kind) for kind in Failure}
    queue, unread = vitals.queue, vitals.unread

    def by(label: str, found: Mapping[Any, float]) -> list[tuple[Labels, float]]:
        return [({label: str(name)}, number) for name, number in found.items()]

    kinds = ("contacts", "events", "coupons", "requests", "webhooks")
    names = [name for name, _, _, _ in vitals.senders]
    age = vitals.pass_age
    return [
        ("estafette_up", UP, [({}, 1)]),
        ("estafette_wrong", "How many of each kind of failure there are now; 0 where all is well.", by("what", wrong)),
        ("estafette_messages", "Messages by state, as last published.", by("state", vitals.messages)),
        ("estafette_failed_messages", "Failed messages by Meta's code, as last published.", by("code", vitals.failed)),
        ("estafette_participants", "Participants by state, as last published.", by("state", vitals.participants)),
        ("estafette_skips", "Messages that were not sent by reason, as last published.", by("reason", vitals.skips)),
        ("estafette_entries", "Who met an entry by outcome, as last published.", by("outcome", vitals.entries)),
        (
            "estafette_queue_messages",
            "Messages that may go out now, by sender.",
            by("sender", {name: queue.get(name, (0, 0.0))[0] for name in names}),
        ),
        (
            "estafette_queue_age_seconds",
            "How long the oldest message that may go out now has been due, by sender.",
            by("sender", {name: queue.get(name, (0, 0.0))[1] for name in names}),
        ),
        (
            "estafette_pace",
            "Messages a second in force, by sender.",
            [({"sender": s}, p) for s, p, _, _ in vitals.senders],
        ),
        (
            "estafette_pace_configured",
            "Messages a second that the settings allow, by sender.",
            [({"sender": s}, c) for s, _, c, _ in vitals.senders],
        ),
        (
            "estafette_sender_stopped",
            "1 where a sender is stopped.",
            [({"sender": s}, float(stopped)) for s, _, _, stopped in vitals.senders],
        ),
        (
            "estafette_sender_resting",
            "1 where a sender's bulk rests for its quality at Meta.",
            by("sender", {name: float(name in vitals.resting) for name in names}),
        ),
        (
            "estafette_messaging_limit",
            "People that a portfolio may write to in 24 hours; no sample where there is no limit, or none is known.",
            by(
                "portfolio",
                {one.portfolio: one.limit for one in vitals.limits if one.limit is not None and one.limit > 0},
            ),
        ),
        (
            "estafette_people_reached",
            "People of the last 24 hours that count for the limit.",
            by("portfolio", {one.portfolio: one.people for one in vitals.limits}),
        ),
        (
            "estafette_messages_over_limit",
            "Messages that the limit holds.",
            by("portfolio", {one.portfolio: one.waiting for one in vitals.limits}),
        ),
        (
            "estafette_landing_unread_bytes",
            "Bytes in the landing zone that no pass has read, by kind.",
            by("kind", {kind: unread.get(kind, (0, 0.0))[0] for kind in kinds}),
        ),
        (
            "estafette_landing_lag_seconds",
            "How long the oldest of it has lain there, by kind; webhooks: the webhook lag.",
            by("kind", {kind: unread.get(kind, (0, 0.0))[1] for kind in kinds}),
        ),
        ("estafette_waiting_entries", "Entries that wait for an unknown contact.", [({}, vitals.waiting_entries)]),
        ("estafette_open_requests", "API requests not dealt with to their end.", [({}, vitals.open_requests)]),
        ("estafette_sends_held", "1 while a restore holds all sends.", [({}, float(vitals.sends_held))]),
        ("estafette_stopped_campaigns", "Campaigns that are stopped.", [({}, vitals.stopped_campaigns)]),
        (
            "estafette_troubled_campaigns",
            "Campaigns that stand still for an error of Estafette's own.",
            [({}, vitals.troubled_campaigns)],
        ),
        ("estafette_quarantined_rows", "Rows in quarantine.", [({}, vitals.quarantined)]),
        ("estafette_passes_total", "Passes so far.", [({}, vitals.passes)]),
        ("estafette_pass_running", "1 while a pass is at work.", [({}, float(vitals.pass_running))]),
        (
            "estafette_last_pass_age_seconds",
            "Seconds since a pass last worked; no sample before the first.",
            [] if age is None else [({}, age)],
        ),
        ("estafette_leases", "Leases held: the pass, and the lanes that send.", [({}, vitals.leases)]),
        ("estafette_disk_free_bytes", "Bytes free where the project home is.", [({}, free)]),
        (
            "estafette_refused_webhooks_total",
            "Deliveries of webhooks that this gateway refused, by why.",
            by("why", webhooks or {}),
        ),
        (
            "estafette_refused_answers_total",
            "Requests that this gateway refused, by status.",
            by("status", answers or {}),
        ),
    ]


ENTRIES: Final[Mapping[str, str]] = {
    "estafette_up": "the-ledger-cant-be-used",
    "estafette_wrong": "what-you-see",
    "estafette_failed_messages": "messages-failed",
    "estafette_skips": "people-got-no-message",
    "estafette_entries": "people-did-not-enter",
    "estafette_queue_age_seconds": "no-pass-is-made",
    "estafette_pace": "meta-asks-for-slower-sending",
    "estafette_sender_stopped": "a-sender-is-stopped",
    "estafette_sender_resting": "bulk-rests",
    "estafette_messages_over_limit": "the-messaging-limit-is-used-up",
    "estafette_landing_lag_seconds": "no-pass-is-made",
    "estafette_waiting_entries": "people-did-not-enter",
    "estafette_sends_held": "all-sends-are-held",
    "estafette_stopped_campaigns": "a-campaign-is-stopped",
    "estafette_troubled_campaigns": "a-campaign-stands-still",
    "estafette_quarantined_rows": "rows-are-missing-after-an-import",
    "estafette_last_pass_age_seconds": "no-pass-is-made",
    "estafette_disk_free_bytes": "the-disk-is-full-or-closed",
    "estafette_refused_webhooks_total": "webhooks-are-refused",
    "estafette_refused_answers_total": "the-api-refuses",
}
"""The runbook's entry of each metric by which a failure shows; it stands in the metric's HELP."""

NUMBERS: Final = frozenset(
    f"estafette_{name}"
    for name in (
        "messages", "participants", "queue_messages", "pace_configured", "messaging_limit", "people_reached",
        "landing_unread_bytes", "open_requests", "passes_total", "pass_running", "leases",
    )
)  # fmt: skip
"""Those that are numbers and no sign of anything."""


def exposition(found: Iterable[Family]) -> str:
    """Metrics in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for name, about, samples in found:
        if name in ENTRIES:
            about = f"{about} What to do: {place(ENTRIES[name])}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"]
        for labels, value in samples:
            told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{name}{{{told}}} {value:.17g}" if told else f"{name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _try_disk(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # A leading dot: whoever reads the landing zone passes it over.
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".healthz-") as file:
        file.write(b"ok\n")
        file.flush()
