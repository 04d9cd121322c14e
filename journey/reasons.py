"""Why, in words: each outcome, skip reason, end and hold as a sentence, with what would mend it where anything would.

What belongs here: the sentences that commands and pages show beside the words of `words`. Meta's codes have theirs in
`codes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from journey.words import EntryOutcome, Held, LeaveReason, SkipReason


@dataclass(frozen=True, slots=True)
class Reason:
    """`what` it means, as the rest of a sentence; `mend`: what somebody can do about it, or empty."""

    what: str
    mend: str = ""


OUTCOMES: Final[Mapping[EntryOutcome, Reason]] = {
    EntryOutcome.entered: Reason("entered"),
    EntryOutcome.control: Reason("drawn into the control group: measured, and never messaged"),
    EntryOutcome.already_in: Reason(
        "inside already: a contact is in a campaign once at a time, or once for each key",
        "They can enter once that passage is over; `estafette drop` ends it.",
    ),
    EntryOutcome.re_entry: Reason(
        "came as often as `re_entry` allows", "Set `re_entry` of the campaign, or wait until its time is over."
    ),
    EntryOutcome.too_old: Reason(
        "the event was older than the entry's `max_age` when it was taken in",
        "Send events sooner, or set a longer `max_age`.",
    ),
    EntryOutcome.too_late: Reason(
        "their time to enter was over", "See `if_past`, `late` and `not_after` of the entry; the next firing comes."
    ),
    EntryOutcome.not_active: Reason("the event occurred outside the entry's `active` period", "Set `active`."),
    EntryOutcome.unknown_contact: Reason(
        "no contact with this id came within 24h", "Import the contact before, or with, what names it."
    ),
    EntryOutcome.refused: Reason("what asked for it can't be used"),
    EntryOutcome.stopped: Reason("the campaign was stopped", "`estafette resume` it, then ask again."),
}

SKIPS: Final[Mapping[SkipReason, Reason]] = {
    SkipReason.opted_out: Reason("the contact, or the phone, has opted out", "Only they can opt in again."),
    SkipReason.not_opted_in: Reason("nobody has said that they agreed to be messaged", "Bring `opted_in` in a file."),
    SkipReason.invalid_phone: Reason(
        "the phone can't get WhatsApp messages, or there is none", "Bring another phone in a contact file."
    ),
    SkipReason.missing_variable: Reason(
        "a variable of the message has no value and no fallback", "Bring the value, or give the variable a `fallback`."
    ),
    SkipReason.missing_media: Reason("the header has no address to show", "Bring it, or give it a `fallback`."),
    SkipReason.media_unreachable: Reason("the header's file can't be fetched", "See that its address is public."),
    SkipReason.too_long: Reason("a text is longer than WhatsApp takes", "Shorten what fills it."),
    SkipReason.coupons_exhausted: Reason("the pool has no code left", "Add codes: `estafette import POOL.csv`."),
    SkipReason.coupons_expired: Reason("every code left in the pool has expired", "Add codes that are still good."),
    SkipReason.template_not_approved: Reason(
        "Meta has not approved the template, or takes it no longer",
        "See it in WhatsApp Manager, then `estafette templates pull`.",
    ),
    SkipReason.template_language_missing: Reason(
        "the template does not exist in their language", "Add the language, or a `fallback` for it."
    ),
    SkipReason.outside_service_window: Reason(
        "free text may only go out within 24h of their last message", "Send a template instead."
    ),
    SkipReason.frequency_capped: Reason(
        "they have had as many messages as the frequency cap allows",
        "It can go out when its `per` is over; a message with `frequency_cap: ignore` is not capped.",
    ),
    SkipReason.meta_marketing_cap: Reason(
        "Meta held marketing back from them in the last 24h (131049)", "Nothing: it ends by itself."
    ),
    SkipReason.messaging_limit: Reason(
        "the sender's messaging limit at Meta was used up", "Set a longer `expires`, or write to fewer people at once."
    ),
    SkipReason.too_late: Reason("it waited longer than it may", "See `expires` and `not_after`."),
    SkipReason.us_marketing: Reason("Meta sends no marketing to numbers of the United States"),
    SkipReason.holdout: Reason("they are in the holdout, which no marketing message reaches", "See `holdout`."),
}

ENDS: Final[Mapping[LeaveReason, Reason]] = {
    LeaveReason.end: Reason("went the way to its end"),
    LeaveReason.goal: Reason("reached a goal that ends the journey"),
    LeaveReason.exit_on: Reason("an event of `exit_on` came"),
    LeaveReason.failed: Reason("a message failed, and no `on_failure` leads on"),
    LeaveReason.skipped: Reason("a message was skipped, and no `on_skip` leads on"),
    LeaveReason.opted_out: Reason("opted out of everything"),
    LeaveReason.no_date: Reason("the date to wait for is missing or can't be read"),
    LeaveReason.date_past: Reason("the date to wait for was past"),
    LeaveReason.step_removed: Reason("the step where they stood is no longer in the campaign's file"),
    LeaveReason.dropped_by_hand: Reason("taken out by hand"),
    LeaveReason.control: Reason("of the control group"),
}


def held(why: str) -> str:
    """Why a message is held, as the rest of a sentence; other words than ours as they are."""
    if why == Held.silent_hours:
        return "silent hours"
    if why == Held.restored:
        return "it may have gone out before a restore; `estafette resume --all` decides"
    known = {str(reason): one.what for reason, one in SKIPS.items()}
    return known.get(why, why)


def mend_of(why: str) -> str:
    """What somebody can do about what holds a message, or empty."""
    return next((one.mend for reason, one in SKIPS.items() if reason == why), "")
