"""A conversation as its page shows it: bubbles with what was seen and what became of it, ready for the template.

What belongs here: the way from entries of the ledger to texts. A message that can't be shown as it was (its body or its
template is gone) says so. The texts are `words`; what is read is `resources.thread`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.words import Words
from journey.clock import from_us
from journey.shown import ShownMessage, show
from journey.template import Template
from journey.words import Held, MessageState, SkipReason

if TYPE_CHECKING:
    from resources.thread import Entry

Library = Mapping[tuple[str, str], Template]
Bodies = Callable[[int, int], str | None]
WEB = ("http:" + "//", "https:" + "//")
MARKS = {
    MessageState.planned: "waiting",
    MessageState.held: "waiting",
    MessageState.attempted: "going",
    MessageState.accepted: "sent",
    MessageState.sent: "sent",
    MessageState.delivered: "delivered",
    MessageState.read: "read",
    MessageState.failed: "failed",
    MessageState.unknown: "unknown",
    MessageState.cancelled: "cancelled",
}
SIGNS = {"sent": "✓", "delivered": "✓✓", "read": "✓✓", "failed": "!", "unknown": "?", "going": "…", "waiting": "◷"}


@dataclass(frozen=True, slots=True)
class ButtonView:
    """A button of a message. `pressed`: it is the answer that came; `taps`: how often its counted link was followed;
    `href`: where it leads, if that is an address of the web."""

    label: str
    type: str
    pressed: bool
    taps: int
    href: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Bubble:
    """One entry. `kind` is message, reply or skip, `day` and `clock` when it was. `title` and `said` are what a reply's
    kind or a skip's reason means; `mark` and `mark_text` what became of a message. `error` is a failure's title and
    what it means, or nothing and the detail of a skip, in the language `error_language`."""

    kind: str
    day: str
    clock: str
    campaign: str
    step: str
    said: str = ""
    title: str = ""
    reaction: str | None = None
    author: str = ""
    late: bool = False
    shown: ShownMessage | None = None
    media: str | None = None
    buttons: tuple[ButtonView, ...] = ()
    mark: str = ""
    sign: str = ""
    mark_text: str = ""
    error: tuple[str, str] = ("", "")
    error_language: str = ""

    @property
    def campaign_path(self) -> str:
        return f"/campaigns/{quote(self.campaign, safe='')}"


def bubbles(entries: Iterable["Entry"], library: Library, bodies: Bodies, t: Words) -> list[Bubble]:
    """Entries as they are shown, in their order."""
    return [_VIEWS[one.kind](one, library, bodies, t) for one in entries]


def shown_message(row: Any, library: Library, bodies: Bodies, links: Mapping[str, str]) -> ShownMessage | None:
    """A message as the person saw it, or None where its body or its template is gone. `links`: where counted links
    lead, by the button's label."""
    if row.body_file is None:
        return None
    template = library.get((row.template, row.language)) if row.kind == "template" else None
    body = bodies(row.body_file, row.body_row)
    if body is None or (template is None and row.kind == "template"):
        return None
    leads = {one.index: links[one.text] for one in template.buttons if one.text in links} if template else {}
    try:
        return show(template, body, leads)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # the template has changed its form since
        return None


def left(length: timedelta, t: Words) -> str:
    """A length of time in hours and minutes."""
    minutes = max(int(length.total_seconds()) // 60, 0)
    return t("inbox_left", hours=minutes // 60, minutes=minutes % 60)


def reply_text(kind: str, text: str | None, payload: str | None, t: Words) -> tuple[str, str]:
    """What a reply's kind is called (nothing for a text), and what it says."""
    said = text or (payload if kind in ("button", "list") else None) or ""
    if kind == "reaction":
        return t("inbox_kind_reaction" if said else "inbox_kind_reaction_back"), said
    return ("" if kind == "text" else t(f"inbox_kind_{kind}") if t.has(f"inbox_kind_{kind}") else kind), said


def _message(entry: "Entry", library: Library, bodies: Bodies, t: Words) -> Bubble:
    row = entry.row
    shown = shown_message(row, library, bodies, entry.links)
    buttons: tuple[ButtonView, ...] = ()
    if shown is not None:
        buttons = tuple(
            ButtonView(
                one.text,
                one.type,
                one.text in entry.pressed,
                entry.taps.get(one.text, 0),
                _web(one.leads_to or one.url),
                one.code,
            )
            for one in shown.buttons
        )
    mark = MARKS.get(row.state, "unknown")
    what = ""
    if shown is None:
        what = t("inbox_body_gone", template=row.template) if row.template else t("inbox_text_gone")
    return Bubble(
        "message",
        *_when(row.at, t),
        row.campaign,
        row.step,
        said=what,
        reaction=entry.reaction,
        author=row.author or "",
        shown=shown,
        media=_web(shown.header) if shown is not None and shown.header_kind not in (None, "text") else None,
        buttons=buttons,
        mark=mark,
        sign=SIGNS.get(mark, ""),
        mark_text=_became(row, mark, t),
        error=_failed(row, t) if mark == "failed" else ("", ""),
        error_language=t.language,
    )


def _failed(row: Any, t: Words) -> tuple[str, str]:
    """What Meta's code is called, with the code, and what it means."""
    title, meaning = t.code(row.error_code)
    return (title if row.error_code is None else f"{title} ({row.error_code})"), meaning


def _became(row: Any, mark: str, t: Words) -> str:
    """What became of a message, with when."""
    if row.state == MessageState.held:
        return t("inbox_held", why=_held(row.held_why or "", t))
    at = {
        "waiting": row.due_at,
        "sent": row.sent_at or row.accepted_at,
        "delivered": row.delivered_at,
        "read": row.read_at,
        "failed": row.failed_at,
    }.get(mark)
    text = t(f"inbox_mark_{mark}")
    if at is None:
        return text
    when, said = from_us(at), from_us(row.at)
    return f"{text} · {t.clock(when) if _day(when, t) == _day(said, t) else t.time(when)}"


def _day(moment: datetime, t: Words) -> object:
    return moment.astimezone(t.zone).date()


def _held(why: str, t: Words) -> str:
    if why == Held.silent_hours:
        return t("inbox_silent_hours")
    if why == Held.restored:
        return t("inbox_restored")
    return t.skip(why)[0] if why in SkipReason.__members__ else why


def _reply(entry: "Entry", _library: Library, _bodies: Bodies, t: Words) -> Bubble:
    row = entry.row
    title, said = reply_text(row.kind, row.text, row.payload, t)
    return Bubble(
        "reply",
        *_when(row.at, t),
        row.campaign or "",
        row.step or "",
        said=said,
        title=title,
        reaction=entry.reaction,
        late=bool(row.late),
    )


def _skip(entry: "Entry", _library: Library, _bodies: Bodies, t: Words) -> Bubble:
    row = entry.row
    detail, language = t.sentence(row.detail or "") if row.reason != SkipReason.not_opted_in else ("", "")
    return Bubble(
        "skip",
        *_when(row.at, t),
        row.campaign or "",
        row.step,
        said=t.skip(row.reason)[0],
        title=row.reason,
        author=row.author or "",
        error=("", detail),
        error_language=language,
    )


def _when(at: int, t: Words) -> tuple[str, str]:
    day, _, clock = t.time(from_us(at)).rpartition(", ")
    return day, clock


def _web(address: str | None) -> str | None:
    """An address that may be a link: nothing but the web's."""
    return address if address is not None and address.lower().startswith(WEB) else None


_VIEWS = {"message": _message, "reply": _reply, "skip": _skip}
