"""A project home to try things on, its files, and what Meta would report of its messages.

A stage stands on a clock that only the test turns. It sends without a network: what is claimed gets the outcome that
the test names, through the same outbox that lanes use.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from journey.clock import to_us
from journey.codes import Action, explain
from journey.outcome import Outcome
from pipelines.audiences import add_occurrence
from pipelines.turn import Turn, turn
from resources.claim import Claimed
from resources.home import Clock, Home
from resources.ledger import US, Lease
from resources.outbox import Outbox, Settled

NOON = datetime.fromisoformat("2026-12-01T12:00:00+00:00")
NUMBER = "106540352242922"

SETTINGS = f"""
region: FR
timezone: Europe/Paris
senders:
  main: {{phone_number_id: "{NUMBER}", waba_id: "102290129340398", messages_per_second: 80}}
consent: {{default: opted_in}}
media: {{check: false}}
"""

OFFER = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: hello, language: fr}
"""

Outcomes = Callable[[Claimed], Outcome | None]


def template(
    name: str,
    language: str = "fr",
    category: str = "MARKETING",
    status: str = "APPROVED",
    body: str = "Bonjour !",
    header: Mapping[str, Any] | None = None,
    buttons: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A template's definition as Meta lists it."""
    components: list[dict[str, Any]] = [dict(header)] if header else []
    components.append({"type": "BODY", "text": body})
    if buttons:
        components.append({"type": "BUTTONS", "buttons": [dict(one) for one in buttons]})
    found = {"name": name, "language": language, "category": category, "status": status, "components": components}
    return {**found, "parameter_format": "NAMED", "id": f"{name}-{language}"}


TEMPLATES = (
    template("hello"),
    template("reminder"),
    template("last_call"),
    template("order", category="UTILITY"),
    template("named", body="Bonjour {{first_name}}, voici."),
    template("picture", header={"type": "HEADER", "format": "IMAGE"}),
)


class Stage:
    """A home, its clock in the test's hand, and the lease `pass`."""

    def __init__(self, path: Path, now: datetime) -> None:
        self.path, self.wall = path, now.timestamp()
        self.home = Home(path, Clock(now), lambda: self.wall)
        self.home.reload()
        self.lease = self._lease("pass")
        self._incoming = 0

    def _lease(self, name: str) -> Lease:
        with self.home.ledger.write() as tx:  # whoever held it before is gone
            tx.exec_driver_sql("UPDATE lease SET until = 0 WHERE name = ?", (name,))
        lease = self.home.ledger.take(name, "test", seconds=10 * 365 * 86400)
        assert lease is not None
        return lease

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.home.clock()

    @property
    def us(self) -> int:
        return to_us(self.now)

    def at(self, moment: datetime | str) -> "Stage":
        """Turn the clock, and the wall with it."""
        moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        self.home.clock = Clock(moment)
        self.wall = max(self.wall, moment.timestamp())
        return self

    def later(self, **duration: float) -> "Stage":
        return self.at(self.now + timedelta(**duration))

    # -- files ---------------------------------------------------------------------------------------------------------

    def campaign(self, text: str, name: str | None = None) -> "Stage":
        name = name or next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("name:"))
        (self.path / "campaigns" / f"{name}.yaml").write_text(text)
        return self.reload()

    def template(self, definition: Mapping[str, Any]) -> "Stage":
        file = self.path / "templates" / f"{definition['name']}.{definition['language']}.json"
        file.write_text(json.dumps(definition))
        return self.reload()

    def contacts(self, rows: Sequence[Mapping[str, object]], file: str = "more.csv") -> "Stage":
        write_contacts(self.path, rows, file)
        return self

    def happens(
        self,
        event: str,
        contact: str,
        *,
        at: datetime | str | None = None,
        event_id: str | None = None,
        file: str = "log.ndjson",
        **properties: Any,
    ) -> "Stage":
        """A contact does something: one more line of an event file."""
        when = at if isinstance(at, str) else (at or self.now).isoformat()
        row = {"event": event, "contact_id": contact, "occurred_at": when, "properties": properties}
        with (self.path / "landing/events" / file).open("a") as log:
            log.write(json.dumps(row | ({"event_id": event_id} if event_id else {})) + "\n")
        return self

    def asks(self, campaign: str, uuid: str = "r1", *, file: str = "log.ndjson", **more: Any) -> "Stage":
        """Somebody asks for an API entry: one more line of a request file; `more` as users=…, attribute_values=…"""
        folder = self.path / "landing/requests"
        folder.mkdir(exist_ok=True)
        with (folder / file).open("a") as log:
            log.write(json.dumps({"campaign": campaign, "request_uuid": uuid, **more}) + "\n")
        return self

    def answers(self, contact: str, uuid: str = "a1", *, author: str = "anna", **more: Any) -> "Stage":
        """A person answers in the inbox; `more` as text=…, or template=…, language=…"""
        folder = self.path / "landing/requests"
        folder.mkdir(exist_ok=True)
        inbox = {"contact_id": contact, "sender": "main", "author": author, **more}
        with (folder / "inbox.ndjson").open("a") as log:
            log.write(json.dumps({"request_uuid": uuid, "inbox": inbox}) + "\n")
        return self

    def reload(self) -> "Stage":
        self.home.reload()
        return self

    # -- the verbs -----------------------------------------------------------------------------------------------------

    def turn(self) -> Turn:
        """One turn: all that is due but sending."""
        return turn(self.home, self.lease, final=True)

    def run(self, campaign: str = "offer") -> Turn:
        """What `run` does, up to the outbox."""
        self.turn()  # who there is decides whether a campaign has a hole
        add_occurrence(self.home, self.home.project.campaigns[campaign], self.now)
        return self.turn()

    def send(self, outcome: Outcomes | None = None, want: int = 1_000) -> list[Claimed]:
        """Everything that may be claimed goes out, with these outcomes (default: accepted)."""
        lease = self.home.ledger.take("send:main:0/1", "test")
        assert lease is not None
        outbox = Outbox(self.home.ledger, lease, "main", 0, 1, 80.0)
        wall = int(self.wall * US)
        turn = outbox.turn([], want, self.us, wall)
        if turn.mark is not None:
            self.home.mark.note(turn.mark)
        claimed = list(turn.claimed)
        outbox.turn([Settled(one.id, (outcome or accepted)(one)) for one in claimed], 0, self.us, wall)
        self.home.ledger.release(lease)
        return claimed

    # -- what Meta reports ---------------------------------------------------------------------------------------------

    def webhook(self, *values: Mapping[str, Any], field: str = "messages", file: str = "log.ndjson") -> "Stage":
        """Lines of the webhook log, one a value."""
        with (self.path / "landing/webhooks" / file).open("a") as log:
            for value in values:
                log.write(json.dumps(delivery(value, field)) + "\n")
        return self

    def status(self, message_id: int, status: str, *, at: datetime | None = None, **more: Any) -> "Stage":
        """A status of one of our messages, as Meta would report it."""
        return self.webhook(self.status_of(message_id, status, at=at, **more))

    def status_of(
        self, message_id: int, status: str, *, at: datetime | None = None, code: int | None = None, **more: Any
    ) -> dict[str, Any]:
        uid = self.value("SELECT uid FROM message WHERE id = ?", message_id)
        callback = f"{self.home.prefix()}:{message_id}:{uid}"
        return status_value(f"wamid.{message_id}", status, at or self.now, callback=callback, code=code, **more)

    def says(self, phone: str, text: str, *, at: datetime | None = None, quotes: str | None = None) -> "Stage":
        """A person writes."""
        self._incoming += 1
        message: dict[str, Any] = {
            "from": phone.lstrip("+"),
            "id": f"wamid.in.{self._incoming}",
            "timestamp": str(int((at or self.now).timestamp())),
            "type": "text",
            "text": {"body": text},
        }
        if quotes is not None:
            message["context"] = {"id": quotes, "from": "15550783881"}
        who = {"profile": {"name": "Someone"}, "wa_id": phone.lstrip("+")}
        return self.webhook({"contacts": [who], "messages": [message]})

    # -- looks ---------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        with self.home.ledger.read() as tx:
            return [tuple(row) for row in tx.exec_driver_sql(query, params).all()]

    def value(self, query: str, *params: object) -> Any:
        rows = self.rows(query, *params)
        return rows[0][0] if rows else None

    def counts(self, table: str, column: str) -> dict[str, int]:
        return dict(self.rows(f"SELECT {column}, count(*) FROM {table} GROUP BY 1 ORDER BY 1"))

    def states(self) -> dict[str, int]:
        return self.counts("message", "state")

    def skips(self) -> dict[str, int]:
        return self.counts("skip", "reason")

    def reasons(self) -> dict[str, int]:
        return self.counts("participant", "reason")

    def lake(self, name: str) -> list[dict[str, Any]]:
        return self.home.lake.scan(name).collect().to_dicts()

    def outcomes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.lake("entries"):
            found[row["outcome"]] = found.get(row["outcome"], 0) + 1
        return found

    def entered(self) -> list[str]:
        """Who came in, in their order."""
        return [row[0] for row in self.rows("SELECT contact_id FROM participant ORDER BY id")]

    def moves(self) -> list[tuple[str, str, str, str]]:
        """(contact, from, branch, to) of every move."""
        return sorted(
            (row["contact_id"], row["from_step"], row["branch"], row["to_step"])
            for row in self.lake("participant_steps")
        )


def in_parts(patch: pytest.MonkeyPatch, rows: int) -> None:
    """Have bulk writes put so many rows into one transaction, without pauses between them."""
    patch.setattr("resources.ledger.chunks.__defaults__", (rows, 0.0))
    patch.setattr("resources.ledger.Ledger.chunks.__defaults__", (rows,))
    patch.setattr("pipelines.moving.BULK", rows)


def accepted(claimed: Claimed) -> Outcome:
    return Outcome(Action.accepted, wamid=f"wamid.{claimed.id}")


def refused(code: int) -> Outcomes:
    """Outcomes: Meta refuses everything with this code."""
    known = explain(code)
    return lambda _: Outcome(known.action, code=code, title=known.title)


def unknown(_: Claimed) -> Outcome:
    return Outcome(Action.unknown, title="No answer")


def delivery(value: Mapping[str, Any], field: str = "messages") -> dict[str, Any]:
    about = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "1", "phone_number_id": NUMBER}}
    whole = {**about, **value} if field == "messages" else dict(value)
    entry = {"id": "102290129340398", "time": int(NOON.timestamp()), "changes": [{"field": field, "value": whole}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def status_value(
    wamid: str, status: str, at: datetime, *, callback: str | None = None, code: int | None = None, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"id": wamid, "status": status, "timestamp": str(int(at.timestamp())), **more}
    found["recipient_id"] = "33600000000"
    if callback is not None:
        found["biz_opaque_callback_data"] = callback
    if code is not None:
        found["errors"] = [{"code": code, "title": explain(code).title}]
    return {"statuses": [found]}


def person(number: int, **more: object) -> dict[str, object]:
    """A contact: `c1`, 06 00 00 00 01."""
    return {"contact_id": f"c{number}", "phone": f"06{number:08d}", "country": "FR", **more}


def write_contacts(path: Path, rows: Sequence[Mapping[str, object]], file: str) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    hidden = path / "landing/contacts" / f".{file}"
    with hidden.open("w", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerows(rows)
    hidden.rename(hidden.with_name(file))


def write_home(
    path: Path,
    *,
    settings: str = SETTINGS,
    campaigns: Iterable[str] = (OFFER,),
    segments: Mapping[str, str] | None = None,
    contacts: Sequence[Mapping[str, object]] | int = 3,
    templates: Iterable[Mapping[str, Any]] = TEMPLATES,
) -> Path:
    """The files of a home. `contacts`: rows, or how many people there are."""
    for folder in ("campaigns", "segments", "templates", "landing/contacts", "landing/events", "landing/webhooks"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / "estafette.yaml").write_text(settings)
    (path / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\nWHATSAPP_TOKEN=any\n")
    for text in campaigns:
        name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("name:"))
        (path / "campaigns" / f"{name}.yaml").write_text(text)
    for file, text in (segments or {"everyone.yaml": "all:\n  - {user: {country: FR}}\n"}).items():
        (path / "segments" / file).write_text(text)
    for one in templates:
        (path / "templates" / f"{one['name']}.{one['language']}.json").write_text(json.dumps(one))
    rows = [person(number) for number in range(contacts)] if isinstance(contacts, int) else contacts
    if rows:
        write_contacts(path, rows, "people.csv")
    return path
