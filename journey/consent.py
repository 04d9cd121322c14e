"""Consent: what a file's `opted_in`, a stop word, a start word or Meta's preference does to what is in force.

What belongs here: the rules, over frames of contacts. Where consent is kept is told by `resources/consent`.

One scope is in force for a contact, the strongest: `all` (a stop word), `marketing` (Meta's preference, error 131050),
`file` (a contact file's `opted_in: false`), or none. What a person said is never undone by a file, unless the file
brings an `opted_in_at` later than it; when a file was taken in is no such time, so that a stop word which comes late
still counts. `opted_in` is beside that: a person who refuses marketing is still opted in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

import polars as pl

from journey.properties import TIME
from journey.words import Scope

Change = Literal["opted_in", "opted_out"]
CAUSE_FILE = "file"
CAUSE_PREFERENCE = "meta_preference"
_OWN = [str(Scope.all), str(Scope.marketing)]
_RANK = {None: 0, str(Scope.file): 1, str(Scope.marketing): 2, str(Scope.all): 3}

#: A change of consent. `scope`: the one that came into force or was lifted.
CHANGES: Mapping[str, pl.DataType] = {
    "contact_id": pl.String(),
    "phone": pl.String(),
    "change": pl.String(),
    "scope": pl.String(),
    "cause": pl.String(),
    "source": pl.String(),
    "wamid": pl.String(),
    "changed_at": TIME,
}
STATE = ("opted_in", "opted_in_at", "opted_out_at", "opt_out_scope", "opt_out_cause")


def by_file(frame: pl.DataFrame, now: datetime, default: bool) -> pl.DataFrame:
    """What files say, put to what is in force.

    `frame`: the columns of STATE, `brought` Boolean (null: nothing was said) and `brought_at` (Datetime). Gives the
    frame with STATE as it is after that, `change` (opted_in, opted_out, or null) and `scope` (of the change).
    `default`: whether people of whom nothing is known are opted in; saying so again is no change.
    """
    scope, opted_in = pl.col("opt_out_scope"), pl.col("opted_in")
    yes, no = pl.col("brought").fill_null(False), ~pl.col("brought").fill_null(True)
    own = scope.is_in(_OWN).fill_null(False)
    later = (pl.col("brought_at") > pl.col("opted_out_at")).fill_null(False)
    lifted = yes & (((scope == "file").fill_null(False)) | (own & later))
    stays_out = yes & (scope == "all").fill_null(False) & ~later
    refused = no & ~own
    at = pl.lit(now, TIME)
    effective = opted_in.fill_null(default)
    change = (
        pl.when(lifted | (yes & ~stays_out & ~effective))
        .then(pl.lit("opted_in"))
        .when(no & (effective | (scope.is_null())))
        .then(pl.lit("opted_out"))
    )
    consented = yes & ~stays_out
    return frame.with_columns(
        change=change,
        scope=pl.when(lifted).then(scope).when(change.is_not_null()).then(pl.lit("file")),
        opted_in=pl.when(consented).then(pl.lit(True)).when(no).then(pl.lit(False)).otherwise(opted_in),
        opted_in_at=pl.when(consented)
        .then(pl.coalesce("brought_at", pl.when(effective & ~lifted).then("opted_in_at")))
        .otherwise("opted_in_at"),
        opted_out_at=pl.when(lifted)
        .then(pl.lit(None, TIME))
        .when(refused)
        .then(pl.coalesce("opted_out_at", at))
        .otherwise("opted_out_at"),
        opt_out_scope=pl.when(lifted).then(pl.lit(None, pl.String)).when(refused).then(pl.lit("file")).otherwise(scope),
        opt_out_cause=pl.when(lifted)
        .then(pl.lit(None, pl.String))
        .when(refused)
        .then(pl.lit(CAUSE_FILE))
        .otherwise("opt_out_cause"),
    )


@dataclass(frozen=True, slots=True)
class Consent:
    """What is in force for one contact; times in UTC."""

    opted_in: bool | None = None
    opted_in_at: datetime | None = None
    opted_out_at: datetime | None = None
    opt_out_scope: str | None = None
    opt_out_cause: str | None = None


class Word(StrEnum):
    """What a person says of messages, by a word or by a switch of WhatsApp's."""

    stop = "stop"  # everything
    stop_marketing = "stop_marketing"  # Meta's preference, error 131050
    start = "start"
    resume = "resume"  # Meta's preference: marketing again


@dataclass(frozen=True, slots=True)
class Said:
    """When a person last said a word (UTC), and the cause that it is known by."""

    at: datetime
    cause: str


def word_of(change: str, scope: str, cause: str) -> Word:
    """Which word a change is; START is known by its cause, because it may have lifted less than everything."""
    if change == "opted_out":
        return Word.stop if scope == Scope.all else Word.stop_marketing
    return Word.resume if cause == CAUSE_PREFERENCE else Word.start


def by_person(state: Consent, said: Mapping[Word, Said], word: Word, what: Said) -> Consent | None:
    """What a person's own word does: the consent after it. None: it says nothing new, for the same word is known as
    late as this or later.

    `said`: when the person last said each word before. What is in force follows from the last time of each word alone,
    so that words may come in any order and any number of times: a stop counts unless START is later than it, a stop of
    marketing unless START or `resume` is. START is also the `opted_in_at` that a file brought.
    """
    if word in said and what.at <= said[word].at:
        return None
    known = {**said, word: what}
    starts = [one for one in (state.opted_in_at, known[Word.start].at if Word.start in known else None) if one]
    start = max(starts, default=None)
    resumed = known[Word.resume].at if Word.resume in known else None
    stop, marketing = known.get(Word.stop), known.get(Word.stop_marketing)
    if stop is not None and (start is None or stop.at >= start):
        return Consent(False, start, stop.at, str(Scope.all), stop.cause)
    opted_in = True if word is Word.start else state.opted_in
    if marketing is not None and all(one is None or marketing.at >= one for one in (start, resumed)):
        return Consent(opted_in, start, marketing.at, str(Scope.marketing), marketing.cause)
    if word is Word.start or state.opt_out_scope in _OWN:
        return Consent(opted_in, start)
    return replace(state, opted_in_at=start)


def stronger(scope: pl.Expr, other: pl.Expr) -> pl.Expr:
    """True where `other` is a stronger scope than `scope`."""
    rank = {one: number for one, number in _RANK.items() if one is not None}
    ranked = [one.replace_strict(rank, default=0, return_dtype=pl.Int8).fill_null(0) for one in (scope, other)]
    return ranked[1] > ranked[0]


def changes_frame(rows: Sequence[Mapping[str, object]] = ()) -> pl.DataFrame:
    """Changes of consent as a frame (CHANGES)."""
    return pl.DataFrame(list(rows), schema=dict(CHANGES))
