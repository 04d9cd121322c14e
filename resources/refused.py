"""What Meta refuses of each campaign's messages, and what nobody can say of them: by code, of the last day.

What belongs here: counting, from the messages themselves, by their indexes and never all of them: what failed of late
is read from the newest on, what is tried again stands first in the queue. What codes mean is `journey.codes`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from journey.codes import SEE_DETAILS, Action, explain
from journey.failures import Failure, Found
from resources.ledger import US

DAY = timedelta(days=1)
MOST = 2_000  # failed messages of a campaign that are looked at
FIRST = 1_000  # of its queue: what was claimed and is tried again stands there
NEWEST = 200  # attempts of a campaign of which the share that failed is told
ENOUGH = 20  # attempts from which on it says something
MOST_CODES = 8
ASKED = 600  # seconds for which a refusal that is no failure is news
AGAIN = frozenset({Action.retry_soon, Action.slow_down, Action.pair_slow})

# Written so that the rows come by the index from the newest on, and the reading ends at the limit.
_FAILED = """SELECT error_code, count(*) AS number, error_title, max(attempted_at) FROM (
  SELECT error_code, error_title, attempted_at FROM message INDEXED BY message_failed
  WHERE state = 'failed' AND campaign = ? AND attempted_at > ? ORDER BY attempted_at DESC LIMIT ?)
  GROUP BY 1 ORDER BY 2 DESC, 1"""  # SQLite gives the title of the row that has the maximum
_NEWEST = """SELECT count(*), COALESCE(sum(state = 'failed'), 0) FROM (SELECT state FROM message
  INDEXED BY message_attempts WHERE campaign = ? AND attempted_at > ? ORDER BY attempted_at DESC LIMIT ?)"""
_AGAIN = """SELECT error_code, count(*) FROM (SELECT error_code, not_before FROM message INDEXED BY message_queue
  WHERE state = 'planned' AND sender = ? AND campaign = ? ORDER BY priority, due_at, id LIMIT ?)
  WHERE error_code IS NOT NULL AND not_before > ? GROUP BY 1 ORDER BY 2 DESC, 1"""
_UNKNOWN = """SELECT campaign, COALESCE(error_title, ''), attempted_at FROM message INDEXED BY message_in_flight
  WHERE state IN ('attempted', 'unknown') AND state = 'unknown' AND held_why IS NULL AND attempted_at > ?"""


def refused(tx: sa.Connection, campaigns: Iterable[str], now: int) -> Iterator[Found]:
    """By campaign and code, what failed of what was attempted within a day of `now` (microseconds), and whether most of
    the newest did."""
    since = now - DAY // timedelta(microseconds=1)
    for name in campaigns:
        rows = tx.exec_driver_sql(_FAILED, (name, since, MOST)).all()
        whole = sum(int(row.number) for row in rows) < MOST
        if rows:
            attempts, failed = tx.exec_driver_sql(_NEWEST, (name, since, NEWEST)).one()
            if attempts >= ENOUGH and 2 * failed > attempts:
                yield Found(Failure.campaign_failing, name, {"number": int(failed), "of": int(attempts)})
        for row in [row for row in rows if row.error_code is not None][:MOST_CODES]:  # else nobody refused it
            yield _of_code(Failure.messages_refused, name, int(row.error_code), int(row.number), whole, row.error_title)


def tried_again(tx: sa.Connection, senders: Sequence[str], campaigns: Iterable[str], wall: int) -> Iterator[Found]:
    """By campaign and code, what Meta refused within minutes and may yet take."""
    for name in campaigns:
        found: dict[int, int] = {}
        for sender in senders:
            for code, number in tx.exec_driver_sql(_AGAIN, (sender, name, FIRST, wall - ASKED * US)).all():
                if explain(code).action in AGAIN:
                    found[int(code)] = found.get(int(code), 0) + int(number)
        for code, number in sorted(found.items(), key=lambda one: -one[1])[:MOST_CODES]:
            yield _of_code(Failure.messages_again, name, code, number, number < FIRST)


def unknown(tx: sa.Connection, waits: Mapping[str, timedelta], now: int) -> Iterator[Found]:
    """By campaign, the messages of which nobody can say whether they went out, as long as its `when_unknown` waits
    (`waits`; a day where nothing says). After that its word holds, and there is nothing to wait for."""
    longest = max((DAY, *waits.values()))
    found: dict[str, dict[str, int]] = {}
    for name, title, at in tx.exec_driver_sql(_UNKNOWN, (now - longest // timedelta(microseconds=1),)).all():
        if at > now - waits.get(name, DAY) // timedelta(microseconds=1):
            by_title = found.setdefault(name, {})
            by_title[title] = by_title.get(title, 0) + 1
    for name, by_title in found.items():
        number = sum(by_title.values())
        why = ", ".join(f"{title} ({many:,})" for title, many in sorted(by_title.items()) if title)
        detail = f"{why[:1].upper()}{why[1:]}." if why else ""
        yield Found(Failure.messages_unknown, name, {"number": number}, detail, count=number)


def _of_code(kind: Failure, campaign: str, code: int, number: int, whole: bool, title: str | None = None) -> Found:
    known = explain(code)
    values = {"number": number if whole else f"{number:,}+", "code": str(code)}
    told = (title or "").partition(": ")[2] if SEE_DETAILS in known.sentence else ""
    return Found(kind, campaign, values, told and f"The last: {told}", code, number)
