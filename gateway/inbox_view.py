"""What the pages of the inbox show, read in threads: the list of conversations, one of them, and an answer's line.

What belongs here: asking the ledger and the contacts, and putting together what they know. What was said and what
became of it comes from the ledger, so that it is fresh; who somebody is, from the contacts. The doors are `inbox`, the
bubbles `thread_view`, the answer box `composing`.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from gateway.composing import Composer, NotSent, answer_of, chosen_template, composer, known_texts
from gateway.store import Store
from gateway.words import Words
from journey.clock import from_us, to_us

if TYPE_CHECKING:
    from gateway.thread_view import Bubble
    from resources.conversations import Conversation, Place
    from resources.home import Home
    from resources.people_search import Person
    from resources.thread import Thread

PREVIEW = 120  # characters
IDLE = 120.0  # seconds without a pass after which whoever answers is told


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation in the list. `title` is what kind of reply it was; `sign` and `mark` are of a message of ours."""

    path: str
    name: str
    phone: str
    when: datetime
    short: str
    theirs: bool
    waiting: bool
    unread: int
    said: str
    title: str
    mark: str
    sign: str
    left: str | None
    refused: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """The list: `after` is where it goes on; `empty` says that there is no conversation at all."""

    rows: list[Row]
    after: "Place | None"
    campaigns: list[str]
    zone: ZoneInfo
    empty: bool


@dataclass(frozen=True, slots=True)
class Window:
    """The 24 h after somebody wrote to a sender: until when, and how much is left."""

    sender: str
    until: datetime
    left: str


@dataclass(frozen=True, slots=True)
class Read:
    """One conversation; None for `person` where nobody has this id any more."""

    person: "Person | None"
    phone: str
    bubbles: "list[Bubble]"
    before: "Place | None"
    windows: list[Window]
    consent: tuple[str, str, datetime | None]
    unread: int
    zone: ZoneInfo
    box: Composer
    pending: "Pending | None"
    longest: int


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that no pass has dealt with yet; `idle`: for how many minutes none has run, where that is long."""

    idle: int


def overview_of(
    store: Store,
    home: "Home",
    user: str,
    words: str,
    show: str,
    campaign: str,
    after: "Place | None",
    language: str,
) -> Listed:
    from resources.conversations import Asked, campaigns_sent, conversations
    from resources.people_search import people, search

    project = store.project(home)
    zone = ZoneInfo(project.settings.timezone)
    asked = Asked(
        user,
        campaign or None,
        show == "open",
        show == "waiting",
        search(home, words) if words else None,
        after,
    )
    now = store.clock()
    with home.ledger.read() as tx:
        found = conversations(tx, asked, to_us(now))
        names = campaigns_sent(tx)
        nothing = not found.rows and not conversations(tx, Asked(user), to_us(now), 1).rows
    known = people(home, [one.contact_id for one in found.rows])
    t = Words(language, zone)
    bodies, library = _bodies(home), project.templates
    rows = [_row(one, known.get(one.contact_id), now, library, bodies, t) for one in found.rows]
    return Listed(rows, found.after, names, zone, nothing)


def _row(one: "Conversation", person: "Person | None", now: datetime, library: Any, bodies: Any, t: Words) -> Row:
    from gateway.thread_view import MARKS, SIGNS, left, reply_text, shown_message
    from resources.conversations import WINDOW

    last = one.last
    title, mark = "", ""
    if one.theirs:
        title, said = reply_text(last.reply_kind, last.text, last.payload, t)
    else:
        mark = MARKS.get(last.state, "unknown")
        shown = shown_message(last, library, bodies, {})
        said = shown.body if shown is not None else last.template or t("free_text")
    until = from_us(one.said_at + WINDOW) if one.said_at is not None else None
    phone = (person.phone if person is not None else last.phone) or ""
    return Row(
        f"/inbox/{quote(one.contact_id, safe='')}#newest",
        (person.name if person is not None else "") or phone or one.contact_id,
        phone,
        from_us(one.at),
        t.short_time(from_us(one.at), now),
        one.theirs,
        one.waiting,
        one.unread,
        _short(said),
        title,
        mark,
        SIGNS.get(mark, ""),
        left(until - now, t) if until is not None and until > now and not one.refused else None,
        one.refused,
    )


def conversation(
    store: Store,
    home: "Home",
    user: str,
    contact: str,
    before: "Place | None",
    language: str,
    asked: Mapping[str, str],
    error: str,
) -> Read:
    from gateway.thread_view import bubbles
    from journey.inbox_answer import LONGEST_TEXT
    from resources.conversations import unread
    from resources.people_search import people
    from resources.thread import thread

    project = store.project(home)
    t = Words(language, ZoneInfo(project.settings.timezone))
    person = people(home, [contact]).get(contact)
    with home.ledger.read() as tx:
        found = thread(tx, contact, person.phone if person is not None else None, before)
        new = unread(tx, user, contact)
    sent = [one.row.phone for one in found.entries if one.kind == "message"]
    windows = _windows(found, store.clock(), t)
    consent = _consent(home, contact, found, project.settings.consent.default == "opted_in")
    library = project.templates.values()
    wanted = chosen_template(library, asked.get("template", ""))
    box = composer(
        [(one.sender, one.left) for one in windows if one.sender in project.settings.senders],
        project.settings.senders,
        consent[0],
        person is not None and person.phone is not None,
        library,
        asked,
        known_texts(home, contact, wanted),
        t,
        error,
    )
    return Read(
        person,
        (person.phone if person is not None else sent[-1] if sent else None) or "",
        bubbles(found.entries, project.templates, _bodies(home), t),
        found.before,
        windows,
        consent,
        new,
        t.zone,
        box,
        _pending(home, asked.get("sent", "")),
        LONGEST_TEXT,
    )


def answer_line(
    store: Store, home: "Home", contact: str, author: str, form: Mapping[str, str], t: Words
) -> tuple[str, bytes]:
    """The uuid and the line of an answer. NotSent: what is wrong with it."""
    from resources.claim import WINDOW, last_written

    project = store.project(home)
    made, found = answer_of(form, contact, author, project.templates.values(), t)
    if found.sender not in project.settings.senders:
        raise NotSent(t("form_unreadable"))
    if found.text is not None:
        with home.ledger.read() as tx:
            wrote = last_written(tx, [contact], found.sender).get(contact)
        if wrote is None or from_us(wrote) + WINDOW <= store.clock():
            raise NotSent(t("answer_window_over"))
    inbox = found.model_dump(mode="json", exclude_defaults=True)
    return made, json.dumps({"request_uuid": made, "inbox": inbox}, ensure_ascii=False).encode()


def _pending(home: "Home", made: str) -> Pending | None:
    """Whether an answer that was just taken waits for a pass."""
    from resources.tables import answer as answers
    from resources.vitals import pass_age

    try:
        made = str(uuid.UUID(made))
    except ValueError:
        return None
    with home.ledger.read() as tx:
        if tx.execute(answers.select().where(answers.c.uuid == made, answers.c.done_at.is_not(None))).first():
            return None
    age = pass_age(home)
    return Pending(int(age // 60) if age is not None and age > IDLE else 0)


def _windows(found: "Thread", now: datetime, t: Words) -> list[Window]:
    """The windows that are open, the one that lasts longest first."""
    from gateway.thread_view import left
    from resources.conversations import WINDOW

    ends = [(sender or "", from_us(at) + timedelta(microseconds=WINDOW)) for sender, at in found.said_at.items()]
    return [Window(sender, until, left(until - now, t)) for sender, until in ends if until > now]


def _consent(home: "Home", contact: str, found: "Thread", default: bool) -> tuple[str, str, datetime | None]:
    """What may be sent to them: all, marketing or file (what they refuse), in or unsaid; the cause; since when."""
    if found.refused is not None:
        scope, cause, at = found.refused
        return scope, cause, from_us(at)
    rows = home.contacts.frame(["opted_in", "opted_in_at", "opt_out_scope", "opt_out_cause", "opted_out_at"], [contact])
    if rows.is_empty():
        return "unsaid", "", None
    opted_in, since, scope, cause, at = rows.row(0)
    if scope is not None:
        return str(scope), str(cause or ""), at
    if opted_in is None:
        return ("in" if default else "unsaid"), "", None
    return ("in", "", since) if opted_in else ("file", "file", None)


def _bodies(home: "Home") -> Any:
    """Bodies by file and row; None for one that is no longer kept."""
    import polars as pl

    def get(file: int, row: int) -> str | None:
        try:
            return home.bodies.get(file, row)
        except (LookupError, OSError, pl.exceptions.PolarsError):
            return None

    return get


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1].rstrip() + "…"
