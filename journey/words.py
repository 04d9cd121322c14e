"""The vocabulary: states, reasons and kinds, as they stand in the ledger, the tables and the YAML.

What belongs here: closed sets of words that more than one room uses. What does not: anything that decides.
"""

from enum import StrEnum


class ParticipantState(StrEnum):
    """`active` is about to move, `waiting` waits for a message, a time or an answer; the others have left."""

    active = "active"
    waiting = "waiting"
    ended = "ended"
    dropped = "dropped"
    control = "control"


class LeaveReason(StrEnum):
    """Why a participant left the campaign."""

    end = "end"
    goal = "goal"
    exit_on = "exit_on"
    failed = "failed"
    skipped = "skipped"
    opted_out = "opted_out"
    no_date = "no_date"
    date_past = "date_past"
    step_removed = "step_removed"
    dropped_by_hand = "dropped_by_hand"
    control = "control"


class MessageState(StrEnum):
    """The life of one message, in the order in which it normally goes."""

    planned = "planned"
    held = "held"
    attempted = "attempted"
    accepted = "accepted"
    sent = "sent"
    delivered = "delivered"
    read = "read"
    failed = "failed"
    unknown = "unknown"
    skipped = "skipped"
    cancelled = "cancelled"


class Branch(StrEnum):
    """The ways out of a step that have a fixed name; answers, arms and numbered branches are names of their own."""

    next = "next"
    read = "read"
    not_read = "not_read"
    undelivered = "undelivered"
    other = "other"
    silence = "silence"
    otherwise = "else"
    on_skip = "on_skip"
    on_failure = "on_failure"


class EntryKind(StrEnum):
    """How a contact comes in."""

    audience = "audience"
    trigger = "trigger"
    api = "api"


class EntryOutcome(StrEnum):
    """What became of one contact at one occurrence of an entry."""

    entered = "entered"
    control = "control"
    already_in = "already_in"
    re_entry = "re_entry"
    too_old = "too_old"
    too_late = "too_late"
    not_active = "not_active"
    unknown_contact = "unknown_contact"
    refused = "refused"
    stopped = "stopped"


class SkipReason(StrEnum):
    """Why a message was not sent (spec §3.6)."""

    opted_out = "opted_out"
    not_opted_in = "not_opted_in"
    invalid_phone = "invalid_phone"
    missing_variable = "missing_variable"
    missing_media = "missing_media"
    media_unreachable = "media_unreachable"
    too_long = "too_long"
    coupons_exhausted = "coupons_exhausted"
    coupons_expired = "coupons_expired"
    template_not_approved = "template_not_approved"
    template_language_missing = "template_language_missing"
    outside_service_window = "outside_service_window"
    frequency_capped = "frequency_capped"
    meta_marketing_cap = "meta_marketing_cap"
    messaging_limit = "messaging_limit"
    too_late = "too_late"
    us_marketing = "us_marketing"
    holdout = "holdout"


class Held(StrEnum):
    """Why a message is held that may still go out, beside the skip reasons that hold (`template_not_approved`,
    `media_unreachable`, `messaging_limit`). What expires while held so is skipped as `too_late`; `restored` (it may
    have gone out before the ledger was restored) waits for a person's word."""

    silent_hours = "silent_hours"
    restored = "restored"


class CouponState(StrEnum):
    """The life of one coupon code."""

    free = "free"
    claimed = "claimed"
    sent = "sent"


class Case(StrEnum):
    """The five cases of a variable (the seed's names)."""

    CapitalizeFirst = "CapitalizeFirst"
    CapitalizeAllFirst = "CapitalizeAllFirst"
    UPPERCASE = "UPPERCASE"
    lowercase = "lowercase"
    regular = "regular"


class Scope(StrEnum):
    """How far an opt-out reaches. `file` is a contact file's `opted_in: false`, which a later file may undo."""

    all = "all"
    marketing = "marketing"
    file = "file"


class Status(StrEnum):
    """Meta's message statuses that move a message; unknown ones are kept and move nothing."""

    sent = "sent"
    delivered = "delivered"
    read = "read"
    failed = "failed"


END = "end"  # the reserved step name
