"""Taking in the webhook log: statuses, answers, preferences and news of templates, in one pass over each file.

What belongs here: which part of a file is read when, and writing all that it holds before its cursor. Parsing is
`journey.webhook`; statuses are `status_intake`; what people write is `inbound`; what Meta says of templates is
`template_news`, and of numbers `numbers`.

What we have already is known by the ledger itself (a status by its message, an answer by its wamid), so a delivery that
comes twice, in another order or in another file changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from journey.clock import from_us, to_us
from journey.consent import changes_frame
from journey.rows import bad_frame
from journey.webhook import Parsed, parse
from journey.words import Scope
from resources.ahead import gathered
from resources.answering import match_again
from resources.consents import apply_consent
from resources.contact_intake import UnreadableFile, readable, set_aside
from resources.containing import Line, line_by_line, reaches_further, unforeseen
from resources.early_names import name_joined
from resources.forget_landing import erase_messages
from resources.forgotten import apart
from resources.home import Home
from resources.inbound import take_in_answers
from resources.landing import Cursor, FileStat, LeadsElsewhere
from resources.ledger import BULK, Lease
from resources.numbers import take_in_numbers
from resources.quarantine import put_aside, put_aside_in_bulk
from resources.status_intake import claims, take_in_statuses
from resources.statuses import REFUSED_MARKETING
from resources.template_news import take_in_templates

AT_ONCE = 32
"""Chunks of a log (512 MB, some 1,300,000 statuses) at most whose statuses are folded together: all that were read
while those before were folded. What is told of a message is then written once, and its neighbours with it: a page of
the ledger holds ten, and writing one is what a fold costs. Of hours of a log, three statuses a message, half as many
at once take two fifths longer."""


@dataclass
class TakenWebhooks:
    """What one pass took in. `late`: ids of messages of somebody who was forgotten that the log still says."""

    files: int = 0
    lines: int = 0
    statuses: int = 0
    answers: int = 0
    quarantined: int = 0
    late: set[str] = field(default_factory=set, repr=False)


@dataclass(frozen=True)
class _Read:
    """What some lines hold: their statuses (`status_intake.TOLD`), all else, and the messages of the forgotten among
    them."""

    statuses: pl.DataFrame
    parsed: Parsed
    late: set[str]


@dataclass(frozen=True)
class _Part:
    """What a chunk of a log holds, the number of its lines, and the cursor after it."""

    read: _Read
    lines: int
    cursor: Cursor


def take_in_webhooks(home: Home, lease: Lease, now: datetime, final: bool = False) -> TakenWebhooks:
    """Take in every webhook log file from where it was left. A file that can't be read never stops the others."""
    taken = TakenWebhooks()
    _marketing_refused(home, lease, now)
    for stat in home.landing.pending(home.wall(), ["webhooks"]):
        taken.files += 1
        try:
            _take_in_file(home, lease, stat, now, final, taken)
        except Exception as error:
            if reaches_further(error):
                raise
            if isinstance(error.__cause__, LeadsElsewhere):  # nobody looks at it again until it changes
                taken.quarantined += set_aside(home.landing, stat, lease, now, error).quarantined
                continue
            known = isinstance(error, UnreadableFile)
            reason = f"the file can't be read: {error}" if known else unforeseen(error)
            bad = pl.DataFrame({"line": [0], "reason": [reason], "raw": [""]})
            with home.ledger.write(lease) as tx:
                taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
    match_again(home, lease, now)
    name_joined(home, lease)
    return taken


def _take_in_file(home: Home, lease: Lease, stat: FileStat, now: datetime, final: bool, taken: TakenWebhooks) -> None:
    chunks = readable(home.landing.chunks(stat, home.wall(), final))
    made = (_Part(_read(home, chunk.lines), len(chunk.lines), chunk.cursor) for chunk in chunks)
    try:
        for parts in gathered(made, AT_ONCE):
            bad = _use(home, lease, stat, [part.read for part in parts], now, taken)
            _done(home, lease, stat, parts[-1].cursor, sum(part.lines for part in parts), bad, now, taken)
    except Exception as error:
        if reaches_further(error):
            raise
        # The file can't be read to its end, or we fail on a line: on from the last cursor, a chunk at a time.
        for chunk in readable(home.landing.chunks(stat, home.wall(), final)):
            bad = deal_with(home, lease, stat, chunk.lines, now, taken)
            _done(home, lease, stat, chunk.cursor, len(chunk.lines), bad, now, taken)
    if taken.late:  # the log says it in full
        erase_messages(home.landing, stat, taken.late, lease)
        taken.late = set()


def _read(home: Home, lines: Sequence[Line]) -> _Read:
    parsed, late = apart(home.ledger, home.prefix(), parse(lines))
    statuses = claims(parsed.statuses, home.installation_prefix())
    return _Read(statuses, replace(parsed, statuses=parsed.statuses.clear()), late)


def _done(
    home: Home, lease: Lease, stat: FileStat, cursor: Cursor, lines: int, bad: pl.DataFrame, now: datetime,
    taken: TakenWebhooks,
) -> None:  # fmt: skip
    """What was read up to a cursor is written, but for what can't be read of it (BAD)."""
    if bad.height > BULK:
        taken.quarantined += put_aside_in_bulk(home.ledger, lease, "webhooks", stat.shown, bad, now)
        bad = bad.clear()
    with home.ledger.write(lease) as tx:
        taken.quarantined += put_aside(tx, "webhooks", stat.shown, bad, now)
        home.landing.save(tx, cursor, to_us(now))
    taken.lines += lines


def deal_with(
    home: Home, lease: Lease, stat: FileStat, lines: Sequence[Line], now: datetime, taken: TakenWebhooks
) -> pl.DataFrame:
    """Write what some lines say. Gives what could not be read of them (BAD), and each line on which we fail ourselves:
    it takes no other line along."""
    found = [bad_frame()]
    for one in line_by_line(lines, lambda some: _use(home, lease, stat, [_read(home, some)], now, taken)):
        if isinstance(one, pl.DataFrame):
            found.append(one)
        else:
            (number, raw), error = one
            found.append(bad_frame([(number, unforeseen(error), raw.decode("utf-8", "replace").strip())]))
    return pl.concat(found)


def _use(
    home: Home, lease: Lease, stat: FileStat, found: Sequence[_Read], now: datetime, taken: TakenWebhooks
) -> pl.DataFrame:
    """Write what was read. Gives what could not be (BAD). Doing it again changes nothing."""
    # First: a status may tell the wamid that an answer quotes.
    folded = take_in_statuses(home, lease, pl.concat(one.statuses for one in found), now)
    answers = 0
    for one in found:
        taken.late |= one.late
        answers += take_in_answers(home, lease, stat.shown, one.parsed, now)
        take_in_templates(home.ledger, lease, one.parsed.templates, now)
        take_in_numbers(home.ledger, lease, one.parsed.numbers, now)
    taken.statuses += folded
    taken.answers += answers
    return pl.concat(one.parsed.bad for one in found)


def _marketing_refused(home: Home, lease: Lease, now: datetime) -> None:
    """131050 in Meta's answer: the lane has put it into force, the contact and the history follow here."""
    with home.ledger.read() as tx:
        rows = tx.exec_driver_sql(
            "SELECT substr(subject, 9) AS contact_id, changed_at FROM suppression"
            " WHERE cause = ? AND subject LIKE 'contact:%'",
            (REFUSED_MARKETING,),
        ).all()
    if not rows:
        return
    phones = dict(home.contacts.find(ids=[row.contact_id for row in rows]).select("contact_id", "phone").iter_rows())
    changes = [
        {
            "contact_id": row.contact_id,
            "phone": phones.get(row.contact_id),
            "change": "opted_out",
            "scope": Scope.marketing.value,
            "cause": "meta_131050",
            "source": "messages",
            "wamid": None,
            "changed_at": from_us(row.changed_at),
        }
        for row in rows
    ]
    apply_consent(home.contacts, lease, changes_frame(changes), now)
    with home.ledger.write(lease) as tx:
        tx.exec_driver_sql("UPDATE suppression SET cause = 'meta_131050' WHERE cause = ?", (REFUSED_MARKETING,))
