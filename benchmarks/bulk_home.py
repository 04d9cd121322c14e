"""A home with as many people as a measurement asks for, through the product's own intake.

What belongs here: the files (settings, campaigns, segment, template) and the data: contacts and events as Parquet files
in the landing zone, made by DuckDB, the same for the same numbers. Taking them in, entering, planning and the rest are
calls of the product itself.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from journey.clock import to_us
from journey.contact_rows import contact_schema
from journey.properties import PropertyType
from pipelines.run import prepare
from resources.contacts import BASE
from resources.events import EVENTS
from resources.events import NAME as EVENTS_NAME
from resources.home import Clock, Home
from resources.ledger import Lease, mark_dirty

NOON = datetime(2026, 12, 1, 11, tzinfo=UTC)
NUMBER = "106540352242922"
FILE_ROWS = 1_000_000

SETTINGS = """
region: FR
timezone: Europe/Paris
senders:
  main: {phone_number_id: "%s", waba_id: "102290129340398", messages_per_second: %d}
consent: {default: opted_in}
media: {check: false}
"""

#: Who bought in the last 180 days, but not in the last 30: the events of everybody are read.
SEGMENT = """
SELECT contact_id, count(*) AS orders
FROM events JOIN contacts USING (contact_id)
WHERE event = 'purchase' AND occurred_at > now() - INTERVAL 180 DAY AND country = 'FR'
GROUP BY contact_id
HAVING max(occurred_at) < now() - INTERVAL 30 DAY
LIMIT {audience}
"""

CAMPAIGN = """
name: offer
sender: main
entries:
  - audience: {segment: away}
variables:
  first_name: {user: first_name, case: CapitalizeFirst, fallback: cher client}
steps:
  hello:
    message:
      template: offer
      language: fr
      header: {image: "https://cdn.example.com/offer.jpg"}
      variables:
        city: {user: city, case: CapitalizeAllFirst, fallback: France}
        product: {user: favourite_product, fallback: nos chaussures}
        orders: {event: orders}
        discount: {text: "20 %"}
      buttons:
        Acheter: {user: product_id, fallback: accueil}
"""

#: What `advance` is measured with: everybody stands at a split as soon as they have entered.
SPLIT = """
name: which
sender: main
entries:
  - audience: {segment: away}
steps:
  hello:
    message: {template: plain, language: fr}
    on_read: {within: 1d, read: thanks, not_read: again}
  thanks:
    delay: {for: 7d}
    next: again
  again:
    delay: {for: 30d}
    next: end
"""


def template(name: str, components: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "language": "fr",
        "category": "MARKETING",
        "status": "APPROVED",
        "parameter_format": "NAMED",
        "id": name,
        "components": components,
    }


TEMPLATES = (
    template("plain", [{"type": "BODY", "text": "Bonjour, nous avons pensé à vous."}]),
    template(
        "offer",
        [
            {"type": "HEADER", "format": "IMAGE"},
            {
                "type": "BODY",
                "text": "Bonjour {{first_name}} ! À {{city}}, {{product}} à {{discount}} après {{orders}} achats.",
            },
            {"type": "FOOTER", "text": "Répondez STOP pour ne plus recevoir nos offres"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {"type": "URL", "text": "Acheter", "url": "https://shop.example.com/p/{{1}}"},
                    {"type": "QUICK_REPLY", "text": "Non, merci"},
                ],
            },
        ],
    ),
)

#: Whoever there is, by number: ids in order, as a base has them. A fifth have no name, some names have quotes.
_CONTACTS = """
SELECT 'c' || lpad(i::VARCHAR, 8, '0') AS contact_id,
  '+336' || lpad((i % 100000000)::VARCHAR, 8, '0') AS phone,
  CASE WHEN hash(i, 1) % 5 = 0 THEN NULL ELSE
    ['élodie', 'jean-pierre', 'Camille', 'OLIVIER', 'zoé', 'o''neil', 'Anne "Nan"', 'karim', 'Lucie', 'maël']
      [(hash(i, 2) % 10 + 1)::BIGINT] END AS first_name,
  CASE WHEN hash(i, 3) % 10 < 8 THEN 'FR' ELSE 'BE' END AS country,
  'ville ' || (hash(i, 4) % 8000) AS city,
  'produit ' || (hash(i, 5) % 100000) AS favourite_product,
  'p' || (hash(i, 5) % 100000) AS product_id,
  (DATE '2026-11-30' - (hash(i, 6) % 700)::INTEGER) AS last_seen,
  (hash(i, 7) % 80 + 18)::BIGINT AS age
FROM range({start}, {stop}) t(i)
"""
#: What they did in the last 540 days, in the order in which it happened. Each has bought about once in those.
_EVENTS = """
SELECT 'e' || i AS event_id,
  CASE WHEN hash(i, 1) % 5 = 0 THEN 'purchase' ELSE 'visit' END AS event,
  'c' || lpad((hash(i, 2) % {contacts})::VARCHAR, 8, '0') AS contact_id,
  TIMESTAMPTZ '{until}' - to_seconds(((1 - (i + 0.5) / {events}) * 540 * 86400)::BIGINT) AS occurred_at,
  (hash(i, 4) % 20000) / 100 AS amount
FROM range({start}, {stop}) t(i)
"""
_TYPES: dict[str, PropertyType] = {
    "first_name": "text",
    "country": "text",
    "city": "text",
    "favourite_product": "text",
    "product_id": "text",
    "last_seen": "date",
    "age": "bigint",
}


def make_home(path: Path, *, audience: int, pace: int = 80, api_url: str = "http://127.0.0.1:9") -> Home:
    """The files of a home without people, and the home, opened at NOON."""
    for folder in ("campaigns", "segments", "templates", "landing/contacts", "landing/events", "landing/webhooks"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / "estafette.yaml").write_text(SETTINGS % (NUMBER, pace))
    (path / ".env").write_text(f"WHATSAPP_API_URL={api_url}\nWHATSAPP_TOKEN=any\n")
    (path / "campaigns/offer.yaml").write_text(CAMPAIGN)
    (path / "campaigns/which.yaml").write_text(SPLIT)
    (path / "segments/away.sql").write_text(SEGMENT.format(audience=audience))
    for one in TEMPLATES:
        (path / f"templates/{one['name']}.fr.json").write_text(json.dumps(one))
    prepare(path)
    return open_home(path)


def open_home(path: Path, now: datetime | None = NOON) -> Home:
    """The home again, as a new process finds it."""
    home = Home(path, Clock(now))
    home.reload()
    return home


def fill(home: Home, contacts: int, events: int, until: datetime = NOON) -> None:
    """People, and events up to a moment, straight into the lake, as an intake leaves them: a base of contacts by id,
    and files of events as they came. Taking in so many is measured elsewhere, and takes longer than what is measured
    here."""
    for start, stop in _parts(contacts):
        frame = _made(_CONTACTS.format(start=start, stop=stop))
        schema = contact_schema(_TYPES)
        frame = frame.with_columns(pl.lit(None, kind).alias(one) for one, kind in schema.items() if one not in frame)
        file = home.lake.put(BASE, frame.select(pl.col(one).cast(kind) for one, kind in schema.items()))
        with home.ledger.write() as tx:
            home.contacts.settle(tx, _TYPES)
            home.lake.register(tx, file)
    for start, stop in _parts(events):
        frame = _made(_EVENTS.format(start=start, stop=stop, contacts=contacts, events=events, until=until))
        frame = frame.with_columns(
            event_key=pl.col("event_id").hash().reinterpret(signed=True),  # what a taking-in compares: none comes
            properties=pl.concat_str(pl.lit('{"amount":'), "amount", pl.lit("}")),
            source_file=pl.lit("events/made.parquet"),
            taken_at=pl.lit(until),
            batch=pl.lit(home.events.next_batch(None)),
        )
        file = home.lake.put(EVENTS_NAME, frame.select(pl.col(one).cast(kind) for one, kind in EVENTS.items()),
                             at="occurred_at")  # fmt: skip
        with home.ledger.write() as tx:
            home.lake.register(tx, file)
    home.reload()


def drop_contacts(path: Path, start: int, stop: int) -> None:
    """Contacts `start` to `stop` (not included) as Parquet files in the landing zone."""
    for first, last in _parts(stop, start):
        _drop(_CONTACTS.format(start=first, stop=last), path / f"landing/contacts/c{first:09}.parquet")


def drop_events(path: Path, start: int, stop: int, contacts: int) -> None:
    """Events `start` to `stop` of so many contacts as Parquet files in the landing zone."""
    for first, last in _parts(stop, start):
        query = _EVENTS.format(start=first, stop=last, contacts=contacts, events=stop, until=NOON)
        _drop(query, path / f"landing/events/e{first:09}.parquet")


def _parts(stop: int, start: int = 0) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, FILE_ROWS):
        yield first, min(first + FILE_ROWS, stop)


def _made(query: str) -> pl.DataFrame:
    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        frame = pl.from_arrow(con.sql(query).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def _drop(query: str, target: Path) -> None:
    hidden = target.with_name(f".{target.name}")
    _made(query).write_parquet(hidden)
    hidden.rename(target)


def take_lease(home: Home, name: str = "pass") -> Lease:
    """The lease `name`, whoever held it before."""
    with home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0 WHERE name = ?", (name,))
    lease = home.ledger.take(name, "benchmark", seconds=86400)
    assert lease is not None
    return lease


_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT :low UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :high)"
_PARTICIPANTS = f"""
INSERT INTO participant (id, campaign, version, contact_id, key, entry, occurrence, priority, entered_at, since, step,
  visit, arrived_at, wake_at, state)
{_NUMBERS}
SELECT i, 'which', '0123456789ab', 'c' || printf('%08d', i - 1), '', 'audience', 'run 1', 1, :at, :at, 'hello', 1, :at,
  NULL, 'waiting' FROM n
"""
_MESSAGES = f"""
INSERT INTO message (id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender, share, kind,
  template, language, category, priority, state, due_at, expires_at, planned_at, attempted_at, attempted_wall,
  accepted_at, wamid, body_file, body_row, counted, market)
{_NUMBERS}
SELECT i, i * 7919, i, 'which', '0123456789ab', 'hello', 1, 'c' || printf('%08d', i - 1),
  '+336' || printf('%08d', i - 1), 'main', i * 7919 % 4294967296, 'template', 'plain', 'fr', 'MARKETING', 1,
  'accepted', :at, :at + 86400000000, :at, :at, :at, :at,
  'wamid.HBgLMzM2MTIzNDU2NzgVAgARGBI' || printf('%012X', (i * 2654435761) & 1099511627775), :file, (i - 1) % 100000,
  1, 'France' FROM n
"""


def fill_messages(home: Home, messages: int, *, bodies: bool = False) -> None:
    """So many people of the campaign `which` who wait with a message that Meta has accepted, written by the ledger
    itself, a hundred thousand a transaction. Planning and sending them is measured elsewhere."""
    at = to_us(NOON)
    for low in range(1, messages + 1, 100_000):
        high = min(low + 100_000, messages + 1)
        text = pl.int_range(low, high, eager=True).cast(pl.String)
        body = pl.concat_str(pl.lit('{"to":"+336'), text, pl.lit('","text":"Bonjour, nous avons pensé à vous."}'))
        frame = pl.select(participant_id=pl.lit(text.cast(pl.Int64)), step=pl.lit("hello"), visit=1, body=body)
        file = home.bodies.put(frame) if bodies else None
        with home.ledger.write() as tx:
            number = home.lake.register(tx, file) if file is not None else None
            given = {"low": low, "high": high, "at": at}
            tx.exec_driver_sql(_PARTICIPANTS, given)
            tx.exec_driver_sql(_MESSAGES, given | {"file": number})
            mark_dirty(tx, "participant", [low, high - 1])
            mark_dirty(tx, "message", [low, high - 1])


def drop_statuses(home: Home, messages: int, bad: int = 0) -> tuple[int, int]:
    """A webhook log that brings each of `messages` as sent, delivered and read, in the order of time, one to three
    statuses a line, and some lines that are no JSON. Gives (lines, statuses)."""
    prefix, start = home.prefix(), int(NOON.timestamp())
    ids = pl.int_range(1, messages + 1, eager=True)
    with home.ledger.read() as tx:
        columns = {"id": pl.Int64, "wamid": pl.String}
        wamids = home.ledger.frame("SELECT id, wamid FROM message ORDER BY id", columns, tx=tx)
    later = {"sent": 0, "delivered": 4, "read": 900}
    parts = [
        ids.to_frame("id").select(
            "id", status=pl.lit(status), at=start + pl.col("id") // 1000 + pl.col("id").hash(9) % (delay + 1)
        )
        for status, delay in later.items()
    ]
    every = pl.concat(parts).sort("at", maintain_order=True).join(wamids, on="id", maintain_order="left")
    every = every.with_row_index("n").with_columns(line=(pl.col("n").hash(3) % 100 < 57).cum_sum())
    one = pl.format(
        '{}id":"{}","status":"{}","timestamp":"{}","recipient_id":"336{}","biz_opaque_callback_data":"{}:{}:{}",'
        '"conversation":{}id":"{}","origin":{}type":"marketing"{},"pricing":{}billable":true,"pricing_model":"PMP",'
        '"type":"regular","category":"marketing"{}',
        pl.lit('{"'), "wamid", "status", "at", pl.col("id").cast(pl.String).str.zfill(8), pl.lit(prefix), "id",
        pl.col("id") * 7919, pl.lit('{"'), "wamid", pl.lit('{"'), pl.lit("}}"), pl.lit('{"'), pl.lit("}}"),
    )  # fmt: skip
    texts = every.select("line", "at", text=one).group_by("line", maintain_order=True)
    lines = texts.agg(pl.col("text").str.join(","), pl.col("at").last())
    head = (
        '{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product"'
        ':"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"' + NUMBER + '"},"statuses":['
    )
    tail = ']},"field":"messages"}]}]}'
    whole = (
        lines.select(
            received_at=pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            body=pl.concat_str(pl.lit(head), "text", pl.lit(tail)),
        )
        .select(pl.struct(pl.all()).struct.json_encode())
        .to_series()
    )
    target = home.paths.landing / "webhooks/20261201.ndjson"
    with target.with_name(".made").open("wb") as out:
        for part in whole.to_frame().iter_slices(100_000):
            out.write(("\n".join(part.to_series()) + "\n").encode())
        out.write(b"{no json\n" * bad)
    target.with_name(".made").rename(target)
    return whole.len() + bad, every.height
