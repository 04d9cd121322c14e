"""What can go wrong for hours while nobody looks: each kind in words, with what to do and its entry in the runbook.

What belongs here: the one table that pages, `status`, `doctor` and `/metrics` speak from, and which runbook entry
tells of a skip reason, an outcome or what a code of Meta's asks for. How a failure is found is `resources.failures`;
the pages' French is `gateway.words_failures_fr`. A kind without an entry fails the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from journey.codes import Action, explain
from journey.words import EntryOutcome, Held, LeaveReason, SkipReason

RUNBOOK: Final = "docs/when-something-goes-wrong.md"


class Failure(StrEnum):
    """The kinds, in the order in which they are shown: what concerns everything first, what healed last."""

    settings_broken = "settings_broken"
    disk_full = "disk_full"
    disk_closed = "disk_closed"
    disk_low = "disk_low"
    ledger_blocked = "ledger_blocked"
    lake_damaged = "lake_damaged"
    sends_held = "sends_held"
    pass_failed = "pass_failed"  # noqa: S105
    no_pass_yet = "no_pass_yet"  # noqa: S105
    no_pass = "no_pass"  # noqa: S105
    daemon_gone = "daemon_gone"
    segment_slow = "segment_slow"
    gateway_down = "gateway_down"
    work_dropped = "work_dropped"
    clock_back = "clock_back"
    token_missing = "token_missing"  # noqa: S105
    app_secret_missing = "app_secret_missing"  # noqa: S105
    webhooks_refused = "webhooks_refused"
    not_kept = "not_kept"
    no_webhooks = "no_webhooks"
    half_forgotten = "half_forgotten"
    not_published = "not_published"
    quarantine = "quarantine"
    inbox_trouble = "inbox_trouble"
    several_daemons = "several_daemons"
    requests_refused = "requests_refused"
    sender_stopped = "sender_stopped"
    sender_unreached = "sender_unreached"
    sender_resting = "sender_resting"
    sender_shared = "sender_shared"
    sender_slowed = "sender_slowed"
    limit_reached = "limit_reached"
    template_held = "template_held"
    coupons_out = "coupons_out"
    campaign_trouble = "campaign_trouble"
    campaign_holes = "campaign_holes"
    campaign_stopped = "campaign_stopped"
    campaign_stranded = "campaign_stranded"
    campaign_overdue = "campaign_overdue"
    campaign_failing = "campaign_failing"
    messages_refused = "messages_refused"
    messages_again = "messages_again"
    messages_unknown = "messages_unknown"
    pass_taken_over = "pass_taken_over"  # noqa: S105
    sender_taken_over = "sender_taken_over"
    gateway_back = "gateway_back"


Concerns = Literal["home", "sender", "template", "pool", "campaign"]


@dataclass(frozen=True, slots=True)
class Kind:
    """`what` is wrong and `mend` what to do: sentences with {placeholders}, `words in backticks` are code. `entry`: the
    runbook's heading as an anchor. `grave`: it stops something; else it slows it, or will stop it."""

    concerns: Concerns
    grave: bool
    entry: str
    what: str
    mend: str


KINDS: Final[Mapping[Failure, Kind]] = {
    Failure.settings_broken: Kind(
        "home", True, "estafetteyaml-cant-be-used",
        "estafette.yaml can't be used: nothing enters and nothing is sent.",
        "`estafette check` says what is wrong and where.",
    ),
    Failure.disk_full: Kind(
        "home", True, "the-disk-is-full-or-closed",
        "The disk is full: {free} left.",
        "Make room. Nothing is lost, and nobody gets a message twice.",
    ),
    Failure.disk_closed: Kind(
        "home", True, "the-disk-is-full-or-closed",
        "The project's data can't be written: the disk or the folder is read-only.",
        "Mend the permissions or the mount. Nothing is lost.",
    ),
    Failure.disk_low: Kind(
        "home", False, "the-disk-is-full-or-closed", "The disk is filling up: {free} left.", "Make room.",
    ),
    Failure.ledger_blocked: Kind(
        "home", True, "the-ledger-cant-be-used",
        "A process is stopped in the middle of writing to the ledger, and nobody else can write.",
        "Let it go on or end it: nothing is lost, the next pass does what it did not.",
    ),
    Failure.lake_damaged: Kind(
        "home", True, "the-lake-is-damaged",
        "Files of the lake are gone or cut short ({number}): no pass works by half of what is known.",
        "`estafette rebuild` makes again what landing files still say; else put them back from a backup.",
    ),
    Failure.sends_held: Kind(
        "home", True, "all-sends-are-held",
        "All sends are held since the restore of {since}: nothing goes out.",
        "What went out meanwhile is told by its statuses. To go on: `estafette resume --all`",
    ),
    Failure.pass_failed: Kind(
        "home", True, "a-pass-fails",
        "The last pass failed at {since}.",
        "Mend what it says; the next pass goes on where it ended. The log of the run in Dagster's pages has more.",
    ),
    Failure.no_pass_yet: Kind(
        "home", True, "no-pass-is-made",
        "There is work waiting, and no pass has been made yet.",
        "Start Dagster's daemon, or let cron run `estafette tick`.",
    ),
    Failure.no_pass: Kind(
        "home", True, "no-pass-is-made",
        "There is work waiting, and no pass has come to its end since {since}.",
        "See that Dagster's daemon runs, or cron with `estafette tick`; by hand, it says what is in the way.",
    ),
    Failure.daemon_gone: Kind(
        "home", True, "no-pass-is-made",
        "Nobody asks for passes since {since}: Dagster's daemon ended, or its sensors are off.",
        "Start it again, or turn its sensors on in Dagster's pages. Where cron makes passes from now on, this goes away"
        " within minutes.",
    ),
    Failure.segment_slow: Kind(
        "home", False, "a-segment-takes-long",
        "A pass evaluates the segment {name} since {since}: until it is done nobody enters or moves.",
        "Nothing where it comes to its end; what is planned goes out meanwhile. After 5 minutes it is ended, and tried"
        " again by later passes: then narrow it down, or stop the campaign that asks for it.",
    ),
    Failure.work_dropped: Kind(
        "home", True, "a-process-died-or-there-are-two",
        "A process died or is held up, its lease ran out at {since}, and nobody has gone on with its work ({number}"
        " messages on the wire).",
        "See that Dagster's daemon runs, or cron with `estafette tick`: the next pass goes on, and nothing is lost.",
    ),
    Failure.gateway_down: Kind(
        "home", True, "the-gateway-is-down",
        "The gateway at {name} ended without a word after {since}: nothing answers there, no webhook and no page.",
        "Start `estafette serve` again. Meta brings what it could not deliver for days; sending goes on.",
    ),
    Failure.clock_back: Kind(
        "home", False, "the-clock-jumped",
        "The machine's clock was set back: the last pass ended at {since}, which is still to come.",
        "Set it right. What is due waits for it; nothing is sent twice.",
    ),
    Failure.token_missing: Kind(
        "home", True, "a-secret-is-missing",
        "WHATSAPP_TOKEN is not set: nothing can be sent.",
        "Put it in the environment or in .env.",
    ),
    Failure.app_secret_missing: Kind(
        "home", True, "a-secret-is-missing",
        "WHATSAPP_APP_SECRET is not set: no webhook is taken.",
        "Put it in the environment or in .env, then start the gateway again.",
    ),
    Failure.webhooks_refused: Kind(
        "home", True, "webhooks-are-refused",
        "Deliveries of webhooks were refused, the last at {since}, and none was taken since.",
        "If they are Meta's, WHATSAPP_APP_SECRET is not the secret of the app: mend it, then start the gateway again.",
    ),
    Failure.not_kept: Kind(
        "home", True, "the-disk-is-full-or-closed",
        "Deliveries of webhooks could not be written to disk, the last at {since}, and none was since.",
        "Make room, or mend the permissions or the mount. Meta brings them again for days, and nothing is lost.",
    ),
    Failure.no_webhooks: Kind(
        "home", True, "webhooks-do-not-arrive",
        "Meta took messages since {since} ({number}), and no status of them came.",
        "See that the gateway runs, that Meta reaches it, and that the app is subscribed to `messages`.",
    ),
    Failure.half_forgotten: Kind(
        "home", True, "somebody-is-half-forgotten",
        "Somebody is half forgotten.",
        "Where nobody is at it: `estafette forget CONTACT --yes`, for the same person or another, finishes it.",
    ),
    Failure.not_published: Kind(
        "home", False, "numbers-are-missing",
        "analytics.duckdb is not there: pages and queries have no numbers.",
        "The next pass makes it, or `estafette rebuild`.",
    ),
    Failure.quarantine: Kind(
        "home", False, "rows-are-missing-after-an-import",
        "What could not be read lies in quarantine ({number}).",
        "`estafette quarantine list` shows it; after a mend: `estafette quarantine retry --all`",
    ),
    Failure.inbox_trouble: Kind(
        "home", True, "a-campaign-stands-still",
        "What people answer in the inbox stands still since {since} because of an error of Estafette's own.",
        "Everything else goes on, and it is tried again each minute. The log of the run in Dagster's pages has more.",
    ),
    Failure.several_daemons: Kind(
        "home", False, "a-process-died-or-there-are-two",
        "Several of Dagster's daemons look after this home: {number}.",
        "End all but one. They harm nothing, and nobody gets a message twice: one makes a pass, the others wait.",
    ),
    Failure.requests_refused: Kind(
        "home", False, "the-api-refuses",
        "The gateway refuses requests: {number} since {since}, the last at {last}.",
        "Each got a sentence that says why; see who asks. It goes away an hour after the last.",
    ),
    Failure.pass_taken_over: Kind(
        "home", False, "a-process-died-or-there-are-two",
        "A process that made a pass died or was held up, and another went on: {number} within a day, the last at"
        " {since}.",
        "Nothing: what it did not do, the next one did. Where it comes again and again, see what ends it.",
    ),
    Failure.gateway_back: Kind(
        "home", False, "the-gateway-is-down",
        "The gateway ended without a word, and runs again: {number} within a day, the last after {since}.",
        "Nothing: Meta brings what it could not deliver. Where it comes again and again, see what ends it.",
    ),
    Failure.sender_stopped: Kind(
        "sender", True, "a-sender-is-stopped",
        "The sender {name} is stopped since {since}: nothing goes out from it.",
        "Then go on with: `estafette resume --sender {name}`",
    ),
    Failure.sender_unreached: Kind(
        "sender", True, "meta-is-down-or-slow",
        "Meta can't be reached since {since}: nothing goes out from the sender {name}.",
        "Look at Meta's status page, at WHATSAPP_API_URL and at your way out. It is tried again by itself, and nothing"
        " is lost.",
    ),
    Failure.sender_resting: Kind(
        "sender", True, "bulk-rests",
        "Bulk messages of the sender {name} rest since {since}; what events and requests ask for goes on.",
        "They go on when Meta says that it is well again. To send all the same: `estafette resume --sender {name}`",
    ),
    Failure.sender_shared: Kind(
        "sender", False, "something-else-sends-with-the-number",
        "Something else seems to send with the number of {name}.",
        "Let one project home send with a number: two of them message a person twice, and know nothing of each other's"
        " caps and opt-outs. Where no other home sends, another system does, or messages_per_second is above what Meta"
        " allows.",
    ),
    Failure.sender_slowed: Kind(
        "sender", False, "meta-asks-for-slower-sending",
        "Meta asked the sender {name} for slower sending: {pace} of {ceiling} messages a second.",
        "Nothing: the pace recovers by itself.",
    ),
    Failure.sender_taken_over: Kind(
        "sender", False, "a-process-died-or-there-are-two",
        "A process that sent for {name} died or was held up, and others went on: {number} within a day, the last at"
        " {since}. It left {messages} messages unknown, of which {known} are known by now.",
        "Nothing: a status settles what is unknown, else `when_unknown` of the campaign decides. Nobody gets a message"
        " twice.",
    ),
    Failure.limit_reached: Kind(
        "home", False, "the-messaging-limit-is-used-up",
        "The messaging limit is used up: {people} of {limit} people in 24 hours, and messages wait ({number}).",
        "Nothing: they go out as places become free. What waits longer than its `expires` is skipped.",
    ),
    Failure.template_held: Kind(
        "template", False, "a-template-is-held-back",
        "The template {name} is {status} at Meta: its messages wait.",
        "See it in WhatsApp Manager; when it is approved again: `estafette templates pull`",
    ),
    Failure.coupons_out: Kind(
        "pool", False, "coupon-codes-run-out",
        "The pool {name} has no code left: whoever gets no code gets no message.",
        "Add codes: `estafette import {name}.csv`",
    ),
    Failure.campaign_trouble: Kind(
        "campaign", True, "a-campaign-stands-still",
        "{name} stands still since {since} because of an error of Estafette's own.",
        "Everything else goes on, and it is tried again each minute. The log of the run in Dagster's pages has more;"
        " where it stays, report it as a fault of Estafette.",
    ),
    Failure.campaign_holes: Kind(
        "campaign", True, "a-campaign-has-holes",
        "The file of {name} has an error: until it is mended nobody enters and nothing is sent.",
        "`estafette check {name}` says what is wrong and where.",
    ),
    Failure.campaign_stopped: Kind(
        "campaign", True, "a-campaign-is-stopped",
        "{name} is stopped since {since}: nobody enters and nothing is sent.",
        "When it may go on: `estafette resume {name}`",
    ),
    Failure.campaign_stranded: Kind(
        "campaign", False, "people-are-inside-and-nobody-moves",
        "People are inside {name}, which is not live: nobody moves.",
        "Put its file back, mend it, or take `draft` out; or take them out with `estafette drop {name} CONTACT…`",
    ),
    Failure.campaign_overdue: Kind(
        "campaign", True, "people-are-late-in-a-campaign",
        "Somebody in {name} should have entered or moved since {since}, and did not.",
        "`estafette status {name}` says which segment fails, or what else is in the way.",
    ),
    Failure.campaign_failing: Kind(
        "campaign", True, "messages-failed",
        "Most of what {name} sends fails: {number} of the last {of}.",
        "See the codes and what they ask for; `estafette stop {name}` keeps the others back until it is mended.",
    ),
    Failure.messages_refused: Kind(
        "campaign", False, "messages-failed",
        "Meta refused messages of {name} within a day: {number} with {code}, {title}.",
        "They took `on_failure`, and are not tried again.",
    ),
    Failure.messages_again: Kind(
        "campaign", False, "meta-asks-for-slower-sending",
        "Messages of {name} are tried again: Meta refused {number} for now with {code}, {title}.",
        "Nothing to do.",
    ),
    Failure.messages_unknown: Kind(
        "campaign", False, "messages-are-unknown",
        "Of messages nobody can say whether they went out ({number}).",
        "Nothing: a status settles them; else `when_unknown` of the campaign decides.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong now, or was and healed. `about`: the sender, template, pool, campaign or address that it
    concerns. `values` fill the kind's sentences: texts, numbers, and times as datetimes. `detail`: what is known of it,
    in English as it was written. `code`: Meta's, where one brought it about. `count`: for how many it stands where they
    are counted."""

    kind: Failure
    about: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    detail: str = ""
    code: int | None = None
    count: int = 1

    def says(self, what: str, show: Callable[[object], str], title: str | None = None) -> str:
        """A sentence of its kind, filled; `show` writes a number or a time as the reader is used to, `title` is that of
        the code where the reader's language has another one."""
        shown = {name: value if isinstance(value, str) else show(value) for name, value in self.values.items()}
        return what.format(name=self.about, title=title or explain(self.code).title, **shown)

    @property
    def asks(self) -> str:
        """What its code means and asks for, in English; nothing where none brought it about."""
        return explain(self.code).sentence if self.code is not None else ""

    @property
    def known(self) -> Kind:
        return KINDS[self.kind]

    @property
    def entry(self) -> str:
        """The runbook's entry: its kind's, or what its code asks for where that is what is told."""
        if self.kind in (Failure.messages_refused, Failure.messages_again):
            return OF_ACTIONS[explain(self.code).action]
        return self.known.entry


def place(entry: str) -> str:
    """Where the runbook tells of something: its file and the entry's anchor."""
    return f"{RUNBOOK}#{entry}"


SKIPPED: Final = "people-got-no-message"
NOT_ENTERED: Final = "people-did-not-enter"

_OF_SKIPS: Final[Mapping[str, str]] = {
    SkipReason.coupons_exhausted: "coupon-codes-run-out",
    SkipReason.coupons_expired: "coupon-codes-run-out",
    SkipReason.template_not_approved: "a-template-is-held-back",
    SkipReason.media_unreachable: "a-headers-file-cant-be-fetched",
    SkipReason.messaging_limit: "the-messaging-limit-is-used-up",
    Held.restored: "all-sends-are-held",
}

OF_ACTIONS: Final[Mapping[Action, str]] = {
    Action.final: "messages-failed",
    Action.retry_soon: "meta-is-down-or-slow",
    Action.not_sent: "meta-is-down-or-slow",
    Action.pair_slow: "meta-asks-for-slower-sending",
    Action.slow_down: "meta-asks-for-slower-sending",
    Action.media_unreachable: "a-headers-file-cant-be-fetched",
    Action.marketing_cap: "messages-failed",
    Action.opt_out_marketing: "messages-failed",
    Action.hold_template: "a-template-is-held-back",
    Action.stop_template: "a-template-is-held-back",
    Action.hold_campaign: "a-campaign-is-stopped",
    Action.stop_sender: "a-sender-is-stopped",
    Action.unknown: "messages-are-unknown",
}
"""What each answer of Meta's that is no success is told in."""


def entry_of(reason: SkipReason | Held | EntryOutcome | LeaveReason) -> str:
    """The runbook's entry of why somebody got no message, waits for one, did not enter, or left."""
    if isinstance(reason, EntryOutcome):
        return NOT_ENTERED
    return _OF_SKIPS.get(reason, SKIPPED)
