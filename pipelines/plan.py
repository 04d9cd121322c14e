"""Plan: everyone who stands at a message step gets a message, or a skip with its reason.

What belongs here: gathering what a message needs (the contact, the attributes, the template), rendering in bulk and
writing messages, bodies and skips; holding and expiring what is planned. What a body looks like is `journey.render`.
A message is keyed by (participant, step, visit): planning twice plans nothing new. 5,000 people a transaction.
"""

import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import phonenumbers
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign, LanguageByContact, MessageStep, TemplateMessage
from journey.clock import to_us
from journey.codes import MARKETING_CAP, UNDELIVERABLE
from journey.fill import MessageSpec, needs, spec_for
from journey.problems import ProjectError
from journey.render import render
from journey.template import Template, resolve_language
from journey.words import MessageState, ParticipantState, Scope, SkipReason
from resources.home import Home
from resources.ledger import US, Lease, chunks, mark_dirty
from resources.outbox import message_uid, skip

MENDING = ("PAUSED", "PENDING", "IN_APPEAL", "FLAGGED", "REINSTATED")
"""Template states that may end by themselves: they hold a message until it expires."""

APPROVED, MISSING = "APPROVED", "missing"
MARKETING = "MARKETING"
DAY = timedelta(hours=24)

ARRIVED = {
    "participant_id": pl.Int64,
    "contact_id": pl.String,
    "step": pl.String,
    "visit": pl.Int64,
    "key": pl.String,
    "occurrence": pl.String,
    "priority": pl.Int64,
    "attributes": pl.String,
    "not_after": pl.Int64,
}
ARRIVED_SQL = """
SELECT p.id, p.contact_id, p.step, p.visit, p.key, p.occurrence, p.priority, p.attributes, p.not_after
FROM participant p
WHERE p.left_at IS NULL AND p.state = 'active' AND p.wake_at <= :now AND p.campaign = :campaign
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id AND m.step = p.step AND m.visit = p.visit)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit)
"""
_OF_TEMPLATE = "SELECT m.id FROM message m WHERE m.state IN ('planned', 'held') AND m.template = ? AND m.language = ?"
_FIXED = ["contact_id", "phone", "locale", "timezone", "opted_in", "opt_out_scope"]


def plan(home: Home, lease: Lease, now: datetime) -> int:
    """Plan a message, or a skip, for everyone who has arrived at a message step. Gives how many people."""
    planned = 0
    for campaign in home.project.live_campaigns().values():
        arrived = home.ledger.frame(ARRIVED_SQL, ARRIVED, {"now": to_us(now), "campaign": campaign.name})
        for (name,), group in arrived.partition_by("step", as_dict=True, maintain_order=True).items():
            step = campaign.steps.get(str(name))
            if step is not None:
                _write(home, lease, campaign, step, rendered_for(home, campaign, step, group, now), now)
                planned += group.height
    return planned


def hold_and_expire(home: Home, lease: Lease, now: datetime) -> int:
    """Hold what waits for a template, let go what no longer does, and skip what was held too long. Gives how many
    messages were skipped."""
    at = to_us(now)
    approved = [key for key, template in home.project.templates.items() if template.approved]
    with home.ledger.write(lease) as tx:
        for name, language in approved:  # holds of our own making end with the cached status
            tx.exec_driver_sql(
                "DELETE FROM template_hold WHERE name = ? AND language = ? AND code IS NULL", (name, language)
            )
        rows = tx.exec_driver_sql("SELECT name, language FROM template_hold").all()
    holds = {(str(row.name), str(row.language)) for row in rows}
    unapproved = SkipReason.template_not_approved.value
    for key in sorted(holds):
        _turn_over(home, lease, f"{_OF_TEMPLATE} AND m.state = 'planned'", key, MessageState.held, unapproved)
    for key in sorted(home.project.templates.keys() - holds):
        let_go = f"{_OF_TEMPLATE} AND m.state = 'held' AND m.held_why = '{unapproved}'"
        _turn_over(home, lease, let_go, key, MessageState.planned, None)
    media = SkipReason.media_unreachable.value
    again = "SELECT m.id FROM message m WHERE m.state = 'held' AND m.held_why = ? AND m.not_before <= ?"
    _turn_over(home, lease, again, (media, int(home.wall() * US)), MessageState.planned, media)
    over = home.ledger.frame(
        "SELECT m.id, m.held_why FROM message m JOIN campaign c ON c.name = m.campaign"
        " WHERE c.stopped_at IS NULL AND c.live AND m.state IN ('planned', 'held') AND m.expires_at < ?",
        {"id": pl.Int64, "held_why": pl.String},
        (at,),
    )
    for part in chunks(over.height):
        with home.ledger.write(lease) as tx:
            skip(tx, [(i, _cause(why), "held until it expired") for i, why in over[part].iter_rows()], at)
    disabled = home.ledger.frame(
        "SELECT m.id FROM template_hold h CROSS JOIN message m ON m.template = h.name AND m.language = h.language"
        " WHERE m.state IN ('planned', 'held') AND h.status IN ('DISABLED', 'REJECTED', 'DELETED')",
        {"id": pl.Int64},
    )
    for part in chunks(disabled.height):
        rejected = [(i, SkipReason.template_not_approved, "Meta no longer sends it") for (i,) in disabled[part].rows()]
        with home.ledger.write(lease) as tx:
            skip(tx, rejected, at)
    return over.height + disabled.height


def _turn_over(
    home: Home, lease: Lease, query: str, params: tuple[object, ...], state: MessageState, why: str | None
) -> None:
    """Give the messages of a query (ids) another state, held or planned, with why. What a lane has stamped meanwhile
    stays as it is."""
    ids = home.ledger.frame(query, {"id": pl.Int64}, params).to_series()
    for part in chunks(ids.len()):
        found = ids[part].to_list()
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(
                "UPDATE message SET state = ?, held_why = ? WHERE id = ? AND state IN ('planned', 'held')",
                [(state.value, why, i) for i in found],
            )
            mark_dirty(tx, "message", found)


def _cause(why: str | None) -> SkipReason:
    return SkipReason(why) if why is not None and why in set(SkipReason) else SkipReason.too_late


def rendered_for(home: Home, campaign: Campaign, step: MessageStep, group: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """`group` with body, template, language, category, skip_reason and skip_detail; rows in order."""
    message = step.message
    library = {
        language: template for (name, language), template in home.project.templates.items() if name == message.template
    }
    by_contact = message.language if isinstance(message.language, LanguageByContact) else None
    wanted = {("user", by_contact.user)} if by_contact is not None else set()
    specs = {key: _spec(campaign, message, template) for key, template in library.items()}
    for spec in specs.values():
        if isinstance(spec, MessageSpec):
            wanted |= {(str(source), name) for source, name in needs(spec)}
    people = with_contacts(home, group, wanted)
    people = people.with_columns(_refusals(home, people, now))
    language = (
        people.get_column(f"user.{by_contact.user}").cast(pl.String)
        if by_contact is not None
        else pl.Series([message.language] * people.height, dtype=pl.String)
    )
    people = people.with_columns(wanted_language=language, row=pl.int_range(pl.len()))
    parts = []
    for (asked,), part in people.partition_by("wanted_language", as_dict=True, maintain_order=True).items():
        fallback = by_contact.fallback if by_contact is not None else None
        template, status = template_for(library, str(asked) if asked is not None else None, fallback)
        spec = specs[template.language] if template is not None else f"{asked or 'no language'}: {status}"
        parts.append(_render_part(home, step, part, spec, missing=status == MISSING))
    return pl.concat(parts, how="vertical_relaxed").sort("row") if parts else people


def _spec(campaign: Campaign, message: TemplateMessage, template: Template) -> MessageSpec | str:
    """What fills a template, or why nothing does: `check` looks at the languages that people are to get, and others of
    the same name may have other placeholders."""
    try:
        return spec_for(message, campaign.variables, template)
    except ProjectError as error:
        return f"{template.language}: {error.problems[0].message}"


def _render_part(
    home: Home, step: MessageStep, part: pl.DataFrame, spec: MessageSpec | str, *, missing: bool
) -> pl.DataFrame:
    """One language's people; `spec` as text says why they get no message."""
    keep = [*ARRIVED, "row", "phone", "refusal", "refusal_detail"]
    if isinstance(spec, str):
        texts = {"template": pl.String, "language": pl.String, "category": pl.String, "held_why": pl.String}
        reason = SkipReason.template_language_missing if missing else SkipReason.template_not_approved
        detail = f"{step.message.template} in {spec}"
        return part.select(
            *keep,
            pl.lit(None, pl.String).alias("body"),
            pl.coalesce("refusal", pl.lit(reason.value)).alias("skip_reason"),
            pl.when(pl.col("refusal").is_null()).then(pl.lit(detail)).otherwise("refusal_detail").alias("skip_detail"),
            *[pl.lit(None, dtype).alias(name) for name, dtype in texts.items()],
        )
    template = spec.template
    bodies = render(spec, part, default_timezone=home.project.settings.timezone)
    marketing = template.category == MARKETING
    us = _is_us(bodies.get_column("phone")) if marketing else pl.Series([False] * bodies.height)
    refused = pl.col("refusal").is_not_null() & (pl.lit(marketing) | ~pl.col("refusal_marketing_only"))
    held = None if template.approved else SkipReason.template_not_approved.value
    return bodies.with_columns(us=us).select(
        *keep,
        "body",
        pl.when(refused)
        .then("refusal")
        .when(pl.col("skip_reason") == SkipReason.invalid_phone)
        .then("skip_reason")
        .when("us")
        .then(pl.lit(SkipReason.us_marketing.value))
        .otherwise("skip_reason")
        .alias("skip_reason"),
        pl.when(refused).then("refusal_detail").otherwise("skip_detail").alias("skip_detail"),
        pl.lit(template.name).alias("template"),
        pl.lit(template.language).alias("language"),
        pl.lit(template.category).alias("category"),
        pl.lit(held, pl.String).alias("held_why"),
    )


def template_for(library: dict[str, Template], wanted: str | None, fallback: str | None) -> tuple[Template | None, str]:
    """The template to send, or the one to hold for; else None and why."""
    found = resolve_language(library, wanted, fallback)
    if found is not None:
        return found, APPROVED
    for mending in (True, False):  # the same way, as if those that may be approved again were; then as if all were
        as_if = {
            language: replace(template, status=APPROVED)
            for language, template in library.items()
            if template.status in MENDING or not mending
        }
        found = resolve_language(as_if, wanted, fallback)
        if found is not None:
            template = library[found.language]
            return (template if mending else None), template.status
    return None, MISSING


def with_contacts(home: Home, group: pl.DataFrame, wanted: set[tuple[str, str]]) -> pl.DataFrame:
    """`group` with the contact's fixed columns and one column a needed property (`user.NAME`, `event.NAME`)."""
    properties = {name for source, name in wanted if source == "user"}
    ids = group.get_column("contact_id").unique()
    known = home.contacts.columns()
    columns = [*_FIXED, *sorted((properties & set(known)) - set(_FIXED))]
    contacts = home.contacts.frame(columns=columns, ids=ids)
    contacts = contacts.with_columns(
        [
            (pl.col(name) if name in contacts.columns else pl.lit(None, pl.String)).alias(f"user.{name}")
            for name in sorted(properties)
        ]
    )
    kept = [*_FIXED, *[f"user.{name}" for name in sorted(properties)]]
    people = group.join(contacts.select(kept), on="contact_id", how="left", maintain_order="left")
    names = sorted(name for source, name in wanted if source == "event")
    return people.with_columns(_attributes(group.get_column("attributes"), names)) if names else people


def _attributes(texts: pl.Series, names: list[str]) -> list[pl.Series]:
    """One column a name (nested by dots) out of JSON texts, each value as JSON has it."""
    decoded = [msgspec.json.decode(text) if text is not None else {} for text in texts]
    series = []
    for name in names:
        values = [_dig(one, name) for one in decoded]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) <= 1 and not kinds & {dict, list}:
            series.append(pl.Series(f"event.{name}", values))
        else:
            series.append(pl.Series(f"event.{name}", values, dtype=pl.Object))
    return series


def _dig(value: object, name: str) -> object:
    if isinstance(value, dict) and name in value:
        return value[name]
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _refusals(home: Home, people: pl.DataFrame, now: datetime) -> list[pl.Expr | pl.Series]:
    """refusal, refusal_detail, refusal_marketing_only: consent and what Meta said of this person before."""
    ledger = home.ledger
    suppressed = ledger.frame("SELECT subject, scope FROM suppression", {"subject": pl.String, "scope": pl.String})
    scopes = dict(suppressed.iter_rows())
    unreachable = ledger.frame("SELECT phone FROM unreachable", {"phone": pl.String}).get_column("phone").implode()
    capped = (
        ledger.frame(
            f"SELECT contact_id FROM message WHERE error_code = {MARKETING_CAP} AND failed_at > ?",
            {"contact_id": pl.String},
            (to_us(now - DAY),),
        )
        .get_column("contact_id")
        .implode()
    )
    by_contact = ("contact:" + pl.col("contact_id")).replace_strict(scopes, default=None, return_dtype=pl.String)
    by_phone = ("phone:" + pl.col("phone")).replace_strict(scopes, default=None, return_dtype=pl.String)
    default = home.project.settings.consent.default == "opted_in"

    def scope(value: Scope) -> pl.Expr:
        return ((by_contact == value) | (by_phone == value) | (pl.col("opt_out_scope") == value)).fill_null(False)

    not_in = ~pl.col("opted_in").fill_null(default) | scope(Scope.file)
    is_unreachable = pl.col("phone").is_in(unreachable).fill_null(False)
    is_capped = pl.col("contact_id").is_in(capped)
    chosen = (
        pl.when(scope(Scope.all)).then(pl.lit(SkipReason.opted_out.value))
        .when(not_in).then(pl.lit(SkipReason.not_opted_in.value))
        .when(is_unreachable).then(pl.lit(SkipReason.invalid_phone.value))
        .when(scope(Scope.marketing)).then(pl.lit(SkipReason.opted_out.value))
        .when(is_capped).then(pl.lit(SkipReason.meta_marketing_cap.value))
    )  # fmt: skip
    detail = (
        pl.when(scope(Scope.all)).then(pl.lit("opted out of everything"))
        .when(not_in).then(pl.lit("no opt-in"))
        .when(is_unreachable).then(pl.lit(f"Meta said {UNDELIVERABLE} of this phone"))
        .when(scope(Scope.marketing)).then(pl.lit("opted out of marketing"))
        .when(is_capped).then(pl.lit(f"Meta said {MARKETING_CAP} of this person in the last 24 hours"))
    )  # fmt: skip
    only = ~(scope(Scope.all) | not_in | is_unreachable)
    return [
        chosen.otherwise(None).alias("refusal"),
        detail.otherwise(None).alias("refusal_detail"),
        only.alias("refusal_marketing_only"),
    ]


def _is_us(phones: pl.Series) -> pl.Series:
    """Whether a phone is of the United States; +1 is shared with Canada and others, so the area code decides."""
    areas = {text[:5] for text in phones.drop_nulls() if text.startswith("+1") and len(text) >= 5}
    us = {
        area
        for area in areas
        if phonenumbers.region_code_for_number(phonenumbers.parse(f"{area}5550123", None)) == "US"
    }
    return phones.str.slice(0, 5).is_in(list(us)).fill_null(False)


def _write(
    home: Home, lease: Lease, campaign: Campaign, step: MessageStep, rendered: pl.DataFrame, now: datetime
) -> None:
    at = to_us(now)
    expires = at + step.message.expires // timedelta(microseconds=1)
    for part in chunks(rendered.height):
        chunk = rendered[part]
        late = (pl.col("not_after") < at).fill_null(False) & pl.col("skip_reason").is_null()
        chunk = chunk.with_columns(
            skip_reason=pl.when(late).then(pl.lit(SkipReason.too_late.value)).otherwise("skip_reason"),
            skip_detail=pl.when(late).then(pl.lit("after the entry's not_after")).otherwise("skip_detail"),
        )
        messages = chunk.filter(pl.col("skip_reason").is_null())
        skips = chunk.filter(pl.col("skip_reason").is_not_null())
        file = home.bodies.put(messages) if messages.height else None
        with home.ledger.write(lease) as tx:
            before = _last_ids(tx)
            if file is not None:
                body_file = home.lake.register(tx, file)
                tx.exec_driver_sql(
                    "INSERT INTO message (uid, participant_id, campaign, version, step, visit, contact_id, phone,"
                    " sender, share, kind, template, language, category, priority, state, held_why, due_at, expires_at,"
                    " planned_at, body_file, body_row)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'template', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    [
                        (
                            _uid(campaign, r),
                            r["participant_id"], campaign.name, campaign.version, r["step"], r["visit"],
                            r["contact_id"], r["phone"], campaign.sender, zlib.crc32(r["phone"].encode()),
                            r["template"], r["language"], r["category"], r["priority"],
                            (MessageState.held if r["held_why"] else MessageState.planned).value, r["held_why"],
                            at, _bounded(expires, r["not_after"]), at, body_file, place,
                        )
                        for place, r in enumerate(messages.iter_rows(named=True))
                    ],
                )  # fmt: skip
                held = messages.filter(pl.col("held_why").is_not_null()).select("template", "language").unique()
                for name, language in held.iter_rows():
                    tx.exec_driver_sql(
                        "INSERT INTO template_hold (name, language, status, changed_at) VALUES (?, ?, 'PAUSED', ?)"
                        " ON CONFLICT DO NOTHING",
                        (name, language, at),
                    )
            if skips.height:
                tx.exec_driver_sql(
                    "INSERT INTO skip (participant_id, campaign, step, visit, contact_id, reason, detail, skipped_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    [
                        (i, campaign.name, step_name, visit, contact_id, reason, detail, at)
                        for i, step_name, visit, contact_id, reason, detail in skips.select(
                            "participant_id", "step", "visit", "contact_id", "skip_reason", "skip_detail"
                        ).iter_rows()
                    ],
                )
            _after(tx, before, messages, skips)


def _uid(campaign: Campaign, row: dict[str, Any]) -> int:
    return message_uid(campaign.name, row["contact_id"], row["key"], row["occurrence"], row["step"], str(row["visit"]))


def _bounded(expires: int, not_after: int | None) -> int:
    return expires if not_after is None else min(expires, not_after)


def _after(tx: sa.Connection, before: dict[str, int], messages: pl.DataFrame, skips: pl.DataFrame) -> None:
    """Put who got a message to waiting, and say which exported buckets changed (a chunk spans two at most)."""
    ids = messages.get_column("participant_id").to_list()
    if ids:
        tx.exec_driver_sql(
            "UPDATE participant SET state = ?, wake_at = NULL WHERE id = ? AND left_at IS NULL",
            [(ParticipantState.waiting.value, i) for i in ids],
        )
    for name, last in _last_ids(tx).items():
        if last > before[name]:
            mark_dirty(tx, name, [before[name] + 1, last])
    mark_dirty(tx, "participant", [*ids, *skips.get_column("participant_id").to_list()])


def _last_ids(tx: sa.Connection) -> dict[str, int]:
    return {
        name: int(tx.exec_driver_sql(f"SELECT COALESCE(max(id), 0) FROM {name}").scalar_one())
        for name in ("message", "skip")
    }
