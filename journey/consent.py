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
from typing import Literal

import polars as pl

from journey.properties import TIME
from journey.words import Scope

Change = Literal["opted_in", "opted_out"]
CAUSE_FILE = "file"
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


def by_person(
    state: Consent, change: Change, scope: Scope, cause: str, at: datetime, resumed_at: datetime | None = None
) -> tuple[Consent, str | None]:
    """What a person's own word does: the consent after it, and the scope that came into force or was lifted (None: it
    changes nothing, because it is in force already or something newer was said).

    A start word is remembered by whoever is opted in already, and `resumed_at` is when they last resumed marketing, so
    that an older stop which comes late finds them.
    """
    if change == "opted_out":
        if state.opted_in_at is not None and at < state.opted_in_at:
            return state, None
        if scope is Scope.marketing and resumed_at is not None and at < resumed_at:
            return state, None
        if _RANK[state.opt_out_scope] >= _RANK[str(scope)]:
            return state, None
        opted_in = False if scope is Scope.all else state.opted_in
        return replace(state, opted_in=opted_in, opted_out_at=at, opt_out_scope=str(scope), opt_out_cause=cause), str(
            scope
        )
    latest = max((one for one in (state.opted_in_at, state.opted_out_at) if one is not None), default=None)
    if latest is not None and at < latest:
        return state, None
    if scope is Scope.marketing:  # Meta's "resume": only what it stopped
        if state.opt_out_scope != str(Scope.marketing):
            return state, None
        return replace(state, opted_out_at=None, opt_out_scope=None, opt_out_cause=None), str(scope)
    if state.opted_in and state.opt_out_scope is None and at == state.opted_in_at:
        return state, None
    return Consent(opted_in=True, opted_in_at=at), state.opt_out_scope or str(Scope.all)


def stronger(scope: pl.Expr, other: pl.Expr) -> pl.Expr:
    """True where `other` is a stronger scope than `scope`."""
    rank = {one: number for one, number in _RANK.items() if one is not None}
    ranked = [one.replace_strict(rank, default=0, return_dtype=pl.Int8).fill_null(0) for one in (scope, other)]
    return ranked[1] > ranked[0]


def changes_frame(rows: Sequence[Mapping[str, object]] = ()) -> pl.DataFrame:
    """Changes of consent as a frame (CHANGES)."""
    return pl.DataFrame(list(rows), schema=dict(CHANGES))
