"""What Meta says of our phone numbers: how many people they may write to, and how good they are thought to be.

What belongs here: keeping it with the sender, whether Meta was asked (`note_number`) or said so by itself (webhooks).
News are applied in the order of their own times, so that a webhook that comes twice, late or in another order changes
nothing. Bulk messages of a sender rest while its quality is low, until the news are good again or an operator resumes
it; what is transactional goes on. Whom the limit lets through is `resources.reached`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.messaging_limit import people, worry
from resources.cloud_api import PhoneNumber
from resources.ledger import US, Lease, Ledger
from resources.settings import Sender
from resources.tables import sender as senders

ASK = 6 * 3600 * US
"""So old (wall) may be what Meta said when it was last asked."""

ASK_RESTING = 900 * US
"""How often Meta is asked about a number whose bulk rests: to see that it is well again."""

ASK_AGAIN = 600 * US
"""After how long it is asked again where it did not answer."""

FOR_GOOD = 2**62
_RESTRICTED = "RESTRICTED_BIZ_INITIATED_MESSAGING"


def know_senders(tx: sa.Connection, configured: Mapping[str, Sender]) -> None:
    """Keep a row for each configured sender, as the settings have it; one that is there no more shares no limit."""
    known = {row.name: row for row in tx.execute(sa.select(senders)).all()}
    for name, one in configured.items():
        values = {
            "ceiling": float(one.messages_per_second),
            "phone_number_id": one.phone_number_id,
            "waba_id": one.waba_id,
            "portfolio": one.portfolio,
            "stated_limit": one.messaging_limit,
        }
        row = known.get(name)
        if row is None:
            tx.execute(senders.insert().values(name=name, pace=values["ceiling"], **values))
            continue
        if row.phone_number_id not in ("", one.phone_number_id):  # another number: nothing that was said is of it
            told = ("messaging_limit", "limit_at", "display_phone", "quality", "status", "news_at", "asked_at")
            resting = ("paused_at", "paused_until", "paused_why", "excused")
            values |= dict.fromkeys((*told, *resting))
        if any(getattr(row, key) != value for key, value in values.items()):
            tx.execute(senders.update().where(senders.c.name == name).values(**values))
    gone = [name for name, row in known.items() if name not in configured and row.portfolio]
    if gone:
        tx.execute(senders.update().where(senders.c.name.in_(gone)).values(portfolio="", stated_limit=None))


def to_ask(tx: sa.Connection, names: Collection[str], wall: int) -> list[str]:
    """The senders among `names` of which Meta should be asked now. `wall` in microseconds."""
    found = []
    for row in tx.execute(sa.select(senders).where(senders.c.name.in_(list(names)))).all():
        every = ASK_RESTING if row.paused_at is not None else ASK
        if row.asked_at is None or not wall - every < row.asked_at <= wall:
            found.append(str(row.name))
    return found


def note_silence(tx: sa.Connection, name: str, wall: int) -> None:
    """Meta did not say anything of a sender's number: it is asked again a little later."""
    row = tx.execute(sa.select(senders.c.paused_at).where(senders.c.name == name)).one_or_none()
    every = ASK if row is None or row.paused_at is None else ASK_RESTING
    tx.execute(senders.update().where(senders.c.name == name).values(asked_at=wall - every + ASK_AGAIN))


def note_number(tx: sa.Connection, name: str, number: PhoneNumber, now: int, wall: int) -> None:
    """Keep what Meta has just answered of a sender's number. It is the newest there is, whatever the clock did."""
    values: dict[str, Any] = {"asked_at": wall}
    if number.quality is not None or number.status is not None:
        values |= {"quality": number.quality, "status": number.status, "news_at": None}
    if number.display_phone_number is not None:
        values["display_phone"] = _digits(number.display_phone_number)
    limit = people(number.messaging_limit)
    if limit is not None:
        values |= {"messaging_limit": limit, "limit_at": now}
    tx.execute(senders.update().where(senders.c.name == name).values(**values))
    if "news_at" in values:
        row = tx.execute(sa.select(senders).where(senders.c.name == name)).one_or_none()
        if row is not None:
            _heed(tx, row, worry(number.quality, number.status), now)


def take_in_numbers(ledger: Ledger, lease: Lease, said: pl.DataFrame, now: datetime) -> None:
    """What webhooks say of numbers and accounts (`webhook_shapes.NUMBERS`), in the order of their times."""
    if said.is_empty():
        return
    at = pl.coalesce("changed_at", "received_at").fill_null(pl.lit(now, said.schema["changed_at"]))
    ordered = said.with_columns(at=at).sort("at", maintain_order=True)
    with ledger.write(lease) as tx:
        for news in ordered.iter_rows(named=True):
            when = to_us(min(news["at"], now))
            limit = people(news["messaging_limit"])
            for row in _spoken_of(tx, news):
                if limit is not None and (row.limit_at is None or row.limit_at <= when):
                    told = {"messaging_limit": limit, "limit_at": when}
                    tx.execute(senders.update().where(senders.c.name == row.name).values(**told))
                if news["field"] == "phone_number_quality_update" and news["event"] in ("FLAGGED", "UNFLAGGED"):
                    _heed(tx, row, worry(None, news["event"]), when)
                if news["field"] == "account_update" and news["event"] == "ACCOUNT_RESTRICTION":
                    until = _restricted_until(news["detail"])
                    if until is not None and until > to_us(now):
                        _heed(tx, row, "Meta has restricted what the account may begin by itself", when, until)


def rest_is_over(tx: sa.Connection, now: int) -> bool:
    """Whether the time of a restriction is over."""
    return tx.execute(sa.select(senders.c.name).where(senders.c.paused_until <= now).limit(1)).first() is not None


def end_rests(tx: sa.Connection, now: int) -> int:
    """Let bulk go on where the time of a restriction is over. Gives of how many senders."""
    over = senders.c.paused_until <= now
    well = {"paused_at": None, "paused_until": None, "paused_why": None, "excused": None}
    return tx.execute(senders.update().where(over).values(**well)).rowcount


def excuse(tx: sa.Connection, name: str) -> bool:
    """Let a sender's bulk go on though Meta has not changed its mind; the same news rests it no more. False: bulk was
    not resting."""
    resting = (senders.c.name == name) & senders.c.paused_at.is_not(None)
    going = {"excused": senders.c.paused_why, "paused_at": None, "paused_until": None, "paused_why": None}
    return tx.execute(senders.update().where(resting).values(**going)).rowcount > 0


def _heed(tx: sa.Connection, row: sa.Row[Any], why: str | None, at: int, until: int | None = None) -> None:
    """Rest a sender's bulk, or let it go on, as news of the time `at` have it. A restriction of the account (`until`)
    outlives good news of the number."""
    if row.news_at is not None and at < row.news_at:
        return
    values: dict[str, Any] = {"news_at": at}
    bound = row.paused_at is not None and row.paused_until is not None and until is None
    if why is None and not bound:
        values |= {"paused_at": None, "paused_until": None, "paused_why": None, "excused": None}
    elif why is not None and why != row.excused and not bound:
        values |= {"paused_at": row.paused_at or at, "paused_why": why, "paused_until": until}
    tx.execute(senders.update().where(senders.c.name == row.name).values(**values))


def _spoken_of(tx: sa.Connection, news: Mapping[str, Any]) -> Iterator[sa.Row[Any]]:
    """The senders that a webhook speaks of: those of its account, of which only the one with the number it names,
    where that is known."""
    mine = tx.execute(sa.select(senders).where(senders.c.waba_id == (news["waba_id"] or ""))).all()
    named = _digits(news["display_phone"] or "")
    exact = [row for row in mine if named and row.display_phone == named]
    yield from exact or [row for row in mine if not named or row.display_phone is None]


def _restricted_until(detail: str | None) -> int | None:
    """Until when (microseconds) an account may begin no conversations; None where it may."""
    try:
        listed = json.loads(detail or "{}").get("restriction_info") or []
    except (ValueError, AttributeError):
        return None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("restriction_type") == _RESTRICTED:
            text = str(one.get("expiration") or "")
            return int(text[:12]) * US if text.isascii() and text.isdigit() else FOR_GOOD
    return None


def _digits(phone: str) -> str:
    return "".join(one for one in phone if one.isdigit())
