"""The demo's people: made up, seeded, with the dirt that real exports have.

What belongs here: contact rows and a year of purchases, as files. Names, phones and purchases are drawn at random; the
phones are numbers that could exist, and go to nobody: the demo speaks to the sandbox only.
"""

import csv
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FIRST_NAMES = (
    "camille", "Léa", "MANON", "Chloé", "inès", "Zoé", "Jeanne", "Louise", "Alice", "Anaïs", "hugo", "Louis", "Gabriel",
    "arthur", "Jules", "Adam", "Maël", "LUCAS", "Raphaël", "Noé", "François", "Jean-Pierre", "Amélie", "Nadia", "Yanis",
    "O'Neil", "Thérèse", "anne-marie", "Mehdi", "Fatou",
)  # fmt: skip
PRODUCTS = {
    "bottines-cuir": "les bottines en cuir",
    "trench-beige": "le trench beige",
    "pull-laine": "le pull en laine",
    "sac-cabas": "le sac cabas",
    "echarpe-alpaga": "l’écharpe d’alpaga",
    "jean-brut": "le jean brut",
}
COUNTRIES = (("FR", 86), ("BE", 6), ("CH", 4), ("CA", 3), ("US", 1))
ZONES = {
    "FR": "Europe/Paris", "BE": "Europe/Brussels", "CH": "Europe/Zurich", "CA": "America/Toronto",
    "US": "America/New_York",
}  # fmt: skip
COLUMNS = (
    "contact_id", "phone", "first_name", "country", "locale", "timezone", "tags", "opted_in", "last_seen",
    "favourite_product", "product_id",
)  # fmt: skip
NOT_OPTED_IN, NO_NAME, NO_PRODUCT, NO_TIMEZONE, BAD_PHONE, BAD_DATE, TWICE, STAFF = (
    0.06,
    0.04,
    0.05,
    0.1,
    0.008,
    0.004,
    0.006,
    0.01,
)
BAD_LINES = 0.001
READER_BUYS, OTHER_BUYS = 0.11, 0.03
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Population:
    """Two files as an export would give them: contacts as CSV with `;`, purchases as NDJSON."""

    contacts: str
    events: str


def make(size: int, now: datetime, seed: int = 1) -> Population:
    """`size` people and their purchases of the year before `now`; the same for the same arguments."""
    draw = random.Random(seed)  # noqa: S311 - the same people every time, which is the point
    people = [_person(number, draw, now) for number in range(1, size + 1)]
    rows = [_dirty(person, draw) for person, _ in people]
    rows += [dict(draw.choice(rows)) for _ in range(round(size * TWICE))]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter=";", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    events = [line for person, purchases in people for line in _events(person, purchases, draw)]
    events.sort(key=lambda one: one[0])
    return Population(text.getvalue(), "".join(f"{line}\n" for _, line in events))


def orders(contacts: Sequence[str], at: datetime) -> str:
    """Events of orders that wait in the shop, one for each of these contacts."""
    lines = [
        {
            "event": "order_status_changed",
            "contact_id": contact,
            "occurred_at": at.isoformat(timespec="seconds"),
            "properties": {"status": "Prête pour le retrait", "order_number": f"A{10_000 + number}"},
        }
        for number, contact in enumerate(contacts)
    ]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def purchases(readers: Sequence[str], others: Sequence[str], at: datetime, seed: int = 2) -> str:
    """What people buy within the days before `at`: of those who have read an offer more do than of the others."""
    draw = random.Random(seed)  # noqa: S311 - the same purchases every time
    lines = []
    for contacts, share in ((readers, READER_BUYS), (others, OTHER_BUYS)):
        for contact in contacts:
            if draw.random() < share:
                amount = round(15 + draw.expovariate(1 / 45), 2)
                when = at - timedelta(hours=24 * draw.random())
                lines.append(
                    {
                        "event": "purchase",
                        "contact_id": contact,
                        "occurred_at": when.isoformat(timespec="seconds"),
                        "properties": {"amount": amount, "product_id": draw.choice(list(PRODUCTS))},
                    }
                )
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _person(number: int, draw: random.Random, now: datetime) -> tuple[dict[str, str], list[datetime]]:
    country = draw.choices([name for name, _ in COUNTRIES], [weight for _, weight in COUNTRIES])[0]
    product = draw.choice(list(PRODUCTS))
    # Some buy every few weeks, most a few times a year; who has not been for long shows in last_seen.
    purchases = sorted(now - YEAR * draw.random() for _ in range(min(40, round(draw.expovariate(1 / 4)))))
    seen = purchases[-1] if purchases else now - YEAR * draw.random()
    seen += (now - seen) * draw.random() * draw.random()
    return {
        "contact_id": f"c{number:06d}",
        "phone": _phone(country, number, draw),
        "first_name": "" if draw.random() < NO_NAME else draw.choice(FIRST_NAMES),
        "country": country,
        "locale": {"FR": "fr_FR", "BE": "fr_BE", "CH": "fr_CH", "CA": "fr_CA", "US": "en_US"}[country],
        "timezone": "" if draw.random() < NO_TIMEZONE else ZONES[country],
        "tags": "|".join(tag for tag, share in (("newsletter", 0.4), ("staff", STAFF)) if draw.random() < share),
        "opted_in": "false" if draw.random() < NOT_OPTED_IN else "true",
        "last_seen": f"{seen.astimezone(ZoneInfo(ZONES[country])):%Y-%m-%d}",
        "favourite_product": PRODUCTS[product] if draw.random() < 0.7 else "",
        "product_id": "" if draw.random() < NO_PRODUCT else product,
    }, purchases


def _phone(country: str, number: int, draw: random.Random) -> str:
    """A phone that nobody else of the population has, written in one of the ways in which people write it."""
    if country == "FR":
        digits = f"{6 + number % 2}{10_000_000 + number * 13:08d}"
        national = f"0{digits[0]} {digits[1:3]} {digits[3:5]} {digits[5:7]} {digits[7:9]}"
        return draw.choice([national, national.replace(" ", ""), f"+33{digits}", f"0033{digits}", f"33{digits}"])
    if country == "BE":
        return f"+32 47{number % 10_000_000:07d}"
    if country == "CH":
        return f"+41 79 {number % 10_000_000:07d}"
    return f"+1 {'514' if country == 'CA' else '212'} {200 + number // 10_000 % 800:03d} {number % 10_000:04d}"


def _dirty(person: dict[str, str], draw: random.Random) -> dict[str, str]:
    """The row as the export has it: now and then with a phone or a date that is none."""
    chance = draw.random()
    if chance < BAD_PHONE:
        return {**person, "phone": draw.choice(["06 12 34", "n/a", "appeler le soir", "0" * 12])}
    if chance < BAD_PHONE + BAD_DATE:
        return {**person, "last_seen": draw.choice(["hier", "31/02/2026", "?"])}
    return person


def _events(person: dict[str, str], purchases: list[datetime], draw: random.Random) -> Iterator[tuple[datetime, str]]:
    for at in purchases:
        chance = draw.random()
        properties = {"amount": round(15 + draw.expovariate(1 / 45), 2), "product_id": draw.choice(list(PRODUCTS))}
        event = {
            "event": "purchase",
            "contact_id": person["contact_id"],
            "occurred_at": at.astimezone(UTC).isoformat(timespec="seconds"),
            "properties": properties,
        }
        if chance < BAD_LINES / 2:
            yield at, json.dumps(event, ensure_ascii=False)[:-9]  # a line that was cut off
        elif chance < BAD_LINES:
            yield at, json.dumps({**event, "occurred_at": "dimanche"}, ensure_ascii=False)
        else:
            yield at, json.dumps(event, ensure_ascii=False)
