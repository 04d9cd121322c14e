"""Who is not to be messaged, whatever the message says: the reasons, and which of them is said where several apply.

What belongs here: their order, one for planning and for claiming. What a person said comes before what nobody said: of
who has opted out and never opted in, `opted_out` is the reason, because an opt-in in a file would change nothing. What
holds for good comes before what passes. Whether a reason applies is looked up by `pipelines.refusals` (a frame of
people) and `resources.claim` (the few messages that are next).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from journey.codes import MARKETING_CAP, UNDELIVERABLE
from journey.words import SkipReason

SINCE = "after the message was planned"


class Why(StrEnum):
    """What keeps messages from a person."""

    stopped_all = "stopped_all"
    stopped_marketing = "stopped_marketing"
    not_opted_in = "not_opted_in"
    unreachable = "unreachable"
    capped = "capped"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is written of it: when a message is planned (`detail`), or has been already (`since`). `marketing`: it keeps
    marketing back and nothing else; `by_hand`: it binds also what a person writes themselves to whoever wrote."""

    reason: SkipReason
    detail: str
    since: str
    marketing: bool = False
    by_hand: bool = False


REFUSALS: Final[Mapping[Why, Refusal]] = MappingProxyType(
    {
        Why.stopped_all: Refusal(
            SkipReason.opted_out, "opted out of everything", f"opted out of everything {SINCE}", by_hand=True
        ),
        Why.stopped_marketing: Refusal(
            SkipReason.opted_out, "opted out of marketing", f"opted out of marketing {SINCE}", marketing=True
        ),
        Why.not_opted_in: Refusal(SkipReason.not_opted_in, "no opt-in", f"withdrawn by a contact file {SINCE}"),
        Why.unreachable: Refusal(
            SkipReason.invalid_phone,
            f"Meta said {UNDELIVERABLE} of this phone",
            f"Meta said {UNDELIVERABLE} of this phone",
        ),
        Why.capped: Refusal(
            SkipReason.meta_marketing_cap,
            f"Meta said {MARKETING_CAP} of this person in the last 24 hours",
            f"Meta said {MARKETING_CAP} of this person {SINCE}",
            marketing=True,
        ),
    }
)
"""In the order in which they are said."""


def first(applying: Collection[Why], *, marketing: bool, by_hand: bool) -> Refusal | None:
    """The reason that is said of those that apply to a person; None where the message may go. `marketing`: what the
    message is; `by_hand`: whether a person wrote it."""
    for why, refusal in REFUSALS.items():
        if why in applying and (marketing or not refusal.marketing) and (refusal.by_hand or not by_hand):
            return refusal
    return None
