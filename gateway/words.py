"""Texts of the pages in French and English, and numbers and times as each language writes them.

What belongs here: which language a browser gets, and finding a text. The texts are `words_en` and `words_fr`, which
have the same keys and placeholders (a test holds them to it).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fastapi import Request

from gateway.words_codes_fr import CODES as CODES_FR
from gateway.words_en import TEXTS as ENGLISH
from gateway.words_failures_fr import FAILURES, OUTCOMES
from gateway.words_fr import ENDS, MENDS, SKIPS
from gateway.words_fr import TEXTS as FRENCH
from gateway.words_sentences_fr import french
from journey.codes import explain
from journey.failures import Found
from journey.reasons import ENDS as ENDS_EN
from journey.reasons import OUTCOMES as OUTCOMES_EN
from journey.reasons import SKIPS as SKIPS_EN
from journey.words import EntryOutcome, LeaveReason, SkipReason

UTC = ZoneInfo("UTC")
_BEFORE = re.compile(r" (?=[:;?!»])|(?<=«) ")
COOKIE = "estafette_language"
LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "fr": FRENCH}
NAMES = {"en": "English", "fr": "Français"}
_MONTHS = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "fr": ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
}


@dataclass(frozen=True, slots=True)
class Words:
    """The texts of one language; `zone` is that of times that are shown."""

    language: str
    zone: ZoneInfo = UTC

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, its {placeholders} filled; numbers among them as the language writes them."""
        shown = {name: self.number(one) if isinstance(one, int) else one for name, one in values.items()}
        text = LANGUAGES[self.language][key]
        return (spaced(text) if self.language == "fr" else text).format(**shown)

    def has(self, key: str) -> bool:
        return key in LANGUAGES[self.language]

    def number(self, number: int | float, decimals: int = 0) -> str:
        """1,234.5 or 1 234,5."""
        text = f"{number:,.{decimals}f}"
        return text if self.language == "en" else text.replace(",", "\u202f").replace(".", ",")

    def percent(self, part: float, decimals: int = 0) -> str:
        """A part of 1 as a percentage."""
        return self.number(part * 100, decimals) + ("%" if self.language == "en" else "\u00a0%")

    def points(self, part: float) -> str:
        """A difference of rates as percentage points, with its sign."""
        return ("+" if part > 0 else "−" if part < 0 else "") + self.number(abs(part) * 100, 1)

    def time(self, moment: datetime) -> str:
        """A moment in the project's time zone."""
        at = moment.astimezone(self.zone)
        month = _MONTHS[self.language][at.month - 1]
        return f"{at.day} {month} {at.year}, {at:%H:%M}"

    def day(self, day: date) -> str:
        """A date."""
        return f"{self.short_day(day)} {day.year}"

    def short_day(self, day: date) -> str:
        """A date without its year."""
        return f"{day.day} {_MONTHS[self.language][day.month - 1]}"

    def clock(self, moment: datetime) -> str:
        """Only its time of day."""
        return f"{moment.astimezone(self.zone):%H:%M}"

    def short_time(self, moment: datetime, now: datetime) -> str:
        """As short as a list needs it: the time today, else the day, with its year where that is another one."""
        at, today = moment.astimezone(self.zone), now.astimezone(self.zone)
        if at.date() == today.date():
            return self.clock(moment)
        day = f"{at.day} {_MONTHS[self.language][at.month - 1]}"
        return day if at.year == today.year else f"{day} {at.year}"

    def duration(self, length: timedelta) -> str:
        """A length of time in its largest whole unit."""
        seconds = int(length.total_seconds())
        for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
            if seconds and seconds % size == 0:
                count = seconds // size
                return self(f"{unit}_one" if count == 1 else f"{unit}_many", count=count)
        return self("second_many", count=seconds)

    def skip(self, reason: str) -> tuple[str, str]:
        """What a skip reason means, and what mends it (or nothing)."""
        if reason not in SkipReason.__members__:
            return reason, ""
        known = SKIPS_EN[SkipReason(reason)]
        if self.language == "fr":
            return spaced(SKIPS[SkipReason(reason)]), spaced(MENDS.get(SkipReason(reason), ""))
        return known.what, known.mend

    def outcome(self, outcome: str) -> tuple[str, str]:
        """What the outcome of an entry means, and what mends it (or nothing)."""
        if outcome not in EntryOutcome.__members__:
            return outcome, ""
        if self.language == "fr":
            what, mend = OUTCOMES[EntryOutcome(outcome)]
            return spaced(what), spaced(mend)
        known = OUTCOMES_EN[EntryOutcome(outcome)]
        return known.what, known.mend

    def code(self, code: int | None) -> tuple[str, str]:
        """The title of one of Meta's error codes, and what it means and asks for."""
        if self.language == "fr" and code is not None and code in CODES_FR:
            title, sentence = CODES_FR[code]
            return title, spaced(sentence)
        known = explain(code)
        return known.title, known.sentence

    def failure(self, found: Found) -> tuple[str, str]:
        """What is wrong, and what to do; where a code of Meta's brought it about, what that means first."""
        known = found.known
        what, mend = FAILURES[found.kind] if self.language == "fr" else (known.what, known.mend)
        title, meant = self.code(found.code) if found.code is not None else ("", "")
        said, done = (
            found.says(spaced(one) if self.language == "fr" else one, self._shown, title) for one in (what, mend)
        )
        return said, f"{meant} {done}".strip()

    def _shown(self, value: object) -> str:
        if isinstance(value, datetime):
            return self.time(value)
        return self.number(value) if isinstance(value, int | float) else str(value)

    def sentence(self, text: str) -> tuple[str, str]:
        """A sentence that was written in English elsewhere, and the language in which it is shown: this one where its
        form is known."""
        known = text if self.language == "en" else french(text)
        return (known, self.language) if known is not None else (text, "en")

    def end(self, reason: str) -> str:
        """What the reason of a leaving means."""
        if reason not in LeaveReason.__members__:
            return reason
        return ENDS[LeaveReason(reason)] if self.language == "fr" else ENDS_EN[LeaveReason(reason)].what


@lru_cache(2_000)
def spaced(text: str) -> str:
    """A French text whose spaces before : ; ? ! » and after « do not break."""
    return _BEFORE.sub("\u00a0", text)


def language_of(request: Request) -> str:
    """The language of a request: the one that was chosen, else the browser's first that there is, else English."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else accepted(request.headers.get("accept-language", ""))


def accepted(header: str) -> str:
    """The best of our languages for an `Accept-Language`."""
    best, most = "en", 0.0
    for part in header[:500].split(","):
        name, _, weight = part.strip().partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and quality > most:
            best, most = language, quality
    return best
