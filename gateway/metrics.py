"""What `GET /metrics` says: the numbers of `resources.vitals` and of the gateway in Prometheus' text format.

What belongs here: each metric's name, what it is, and the runbook's entry of those by which a failure shows. Pure:
what is known comes in. When it is counted, and who may ask, is `health`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from journey.failures import Failure, Found, place

if TYPE_CHECKING:
    from resources.vitals import Vitals

UP = "Whether the ledger can be read."

Labels = Mapping[str, str]
Family = tuple[str, str, list[tuple[Labels, float]]]


def families(
    vitals: "Vitals",
    free: int,
    found: Sequence[Found] = (),
    webhooks: Mapping[str, int] | None = None,
    answers: Mapping[int, int] | None = None,
) -> list[Family]:
    """Every metric: its name, what it is, and its samples."""
    queue, unread = vitals.queue, vitals.unread

    def by(label: str, found: Mapping[Any, float]) -> list[tuple[Labels, float]]:
        return [({label: str(name)}, number) for name, number in found.items()]

    kinds = ("contacts", "events", "coupons", "requests", "webhooks")
    names = [name for name, _, _, _ in vitals.senders]
    age = vitals.pass_age
    return [
        ("estafette_up", UP, [({}, 1)]),
        wrong(found, Failure),
        ("estafette_messages", "Messages by state, as last published.", by("state", vitals.messages)),
        ("estafette_failed_messages", "Failed messages by Meta's code, as last published.", by("code", vitals.failed)),
        ("estafette_participants", "Participants by state, as last published.", by("state", vitals.participants)),
        ("estafette_skips", "Messages that were not sent by reason, as last published.", by("reason", vitals.skips)),
        ("estafette_entries", "Who met an entry by outcome, as last published.", by("outcome", vitals.entries)),
        (
            "estafette_queue_messages",
            "Messages that may go out now, by sender.",
            by("sender", {name: queue.get(name, (0, 0.0))[0] for name in names}),
        ),
        (
            "estafette_queue_age_seconds",
            "How long the oldest message that may go out now has been due, by sender.",
            by("sender", {name: queue.get(name, (0, 0.0))[1] for name in names}),
        ),
        (
            "estafette_pace",
            "Messages a second in force, by sender.",
            [({"sender": s}, p) for s, p, _, _ in vitals.senders],
        ),
        (
            "estafette_pace_configured",
            "Messages a second that the settings allow, by sender.",
            [({"sender": s}, c) for s, _, c, _ in vitals.senders],
        ),
        (
            "estafette_sender_stopped",
            "1 where a sender is stopped.",
            [({"sender": s}, float(stopped)) for s, _, _, stopped in vitals.senders],
        ),
        (
            "estafette_sender_resting",
            "1 where a sender's bulk rests for its quality at Meta.",
            by("sender", {name: float(name in vitals.resting) for name in names}),
        ),
        (
            "estafette_messaging_limit",
            "People that a portfolio may write to in 24 hours; no sample where there is no limit, or none is known.",
            by(
                "portfolio",
                {one.portfolio: one.limit for one in vitals.limits if one.limit is not None and one.limit > 0},
            ),
        ),
        (
            "estafette_people_reached",
            "People of the last 24 hours that count for the limit.",
            by("portfolio", {one.portfolio: one.people for one in vitals.limits}),
        ),
        (
            "estafette_messages_over_limit",
            "Messages that the limit holds.",
            by("portfolio", {one.portfolio: one.waiting for one in vitals.limits}),
        ),
        (
            "estafette_landing_unread_bytes",
            "Bytes in the landing zone that no pass has read, by kind.",
            by("kind", {kind: unread.get(kind, (0, 0.0))[0] for kind in kinds}),
        ),
        (
            "estafette_landing_lag_seconds",
            "How long the oldest of it has lain there, by kind; webhooks: the webhook lag.",
            by("kind", {kind: unread.get(kind, (0, 0.0))[1] for kind in kinds}),
        ),
        ("estafette_waiting_entries", "Entries that wait for an unknown contact.", [({}, vitals.waiting_entries)]),
        ("estafette_open_requests", "API requests not dealt with to their end.", [({}, vitals.open_requests)]),
        ("estafette_sends_held", "1 while a restore holds all sends.", [({}, float(vitals.sends_held))]),
        ("estafette_stopped_campaigns", "Campaigns that are stopped.", [({}, vitals.stopped_campaigns)]),
        (
            "estafette_troubled_campaigns",
            "Campaigns that stand still for an error of Estafette's own.",
            [({}, vitals.troubled_campaigns)],
        ),
        ("estafette_quarantined_rows", "Rows in quarantine.", [({}, vitals.quarantined)]),
        ("estafette_passes_total", "Passes so far.", [({}, vitals.passes)]),
        ("estafette_pass_running", "1 while a pass is at work.", [({}, float(vitals.pass_running))]),
        (
            "estafette_last_pass_age_seconds",
            "Seconds since a pass last worked; no sample before the first.",
            [] if age is None else [({}, age)],
        ),
        ("estafette_leases", "Leases held: the pass, and the lanes that send.", [({}, vitals.leases)]),
        free_disk(free),
        *refused(webhooks or {}, answers or {}),
    ]


def wrong(found: Sequence[Found], kinds: Iterable[Failure]) -> Family:
    """How many there are of each of these kinds."""
    counted = [({"what": str(kind)}, float(sum(one.count for one in found if one.kind == kind))) for kind in kinds]
    return "estafette_wrong", "How many of each kind of failure there are now; 0 where all is well.", [*counted]


def free_disk(free: int) -> Family:
    """What is free on the disks of the home."""
    about = "Bytes free where it is tightest: the project home, its data, its landing zone; 0 where files are short."
    return "estafette_disk_free_bytes", about, [({}, max(0, free))]


def refused(webhooks: Mapping[str, int], answers: Mapping[int, int]) -> list[Family]:
    """What this gateway refused since it began."""
    return [
        (
            "estafette_refused_webhooks_total",
            "Deliveries of webhooks that this gateway refused, by why.",
            [({"why": why}, number) for why, number in webhooks.items()],
        ),
        (
            "estafette_refused_answers_total",
            "Requests that this gateway refused, by status.",
            [({"status": str(status)}, number) for status, number in answers.items()],
        ),
    ]


ENTRIES: Final[Mapping[str, str]] = {
    "estafette_up": "the-ledger-cant-be-used",
    "estafette_wrong": "what-you-see",
    "estafette_failed_messages": "messages-failed",
    "estafette_skips": "people-got-no-message",
    "estafette_entries": "people-did-not-enter",
    "estafette_queue_age_seconds": "no-pass-is-made",
    "estafette_pace": "meta-asks-for-slower-sending",
    "estafette_sender_stopped": "a-sender-is-stopped",
    "estafette_sender_resting": "bulk-rests",
    "estafette_messages_over_limit": "the-messaging-limit-is-used-up",
    "estafette_landing_lag_seconds": "no-pass-is-made",
    "estafette_waiting_entries": "people-did-not-enter",
    "estafette_sends_held": "all-sends-are-held",
    "estafette_stopped_campaigns": "a-campaign-is-stopped",
    "estafette_troubled_campaigns": "a-campaign-stands-still",
    "estafette_quarantined_rows": "rows-are-missing-after-an-import",
    "estafette_last_pass_age_seconds": "no-pass-is-made",
    "estafette_disk_free_bytes": "the-disk-is-full-or-closed",
    "estafette_refused_webhooks_total": "webhooks-are-refused",
    "estafette_refused_answers_total": "the-api-refuses",
}
"""The runbook's entry of each metric by which a failure shows; it stands in the metric's HELP."""

NUMBERS: Final = frozenset(
    f"estafette_{name}"
    for name in (
        "messages", "participants", "queue_messages", "pace_configured", "messaging_limit", "people_reached",
        "landing_unread_bytes", "open_requests", "passes_total", "pass_running", "leases",
    )
)  # fmt: skip
"""Those that are numbers and no sign of anything."""


def exposition(found: Iterable[Family]) -> str:
    """Metrics in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for name, about, samples in found:
        if name in ENTRIES:
            about = f"{about} What to do: {place(ENTRIES[name])}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"]
        for labels, value in samples:
            told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{name}{{{told}}} {value:.17g}" if told else f"{name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
