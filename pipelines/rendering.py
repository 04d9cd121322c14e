"""Rendering for real people: what a message step needs of the contacts and the templates, and the bodies it makes.

What belongs here: gathering contacts' and attributes' columns, the choice of the template's language for each, and the
call of `journey.render`, with why somebody gets no body. Writing messages is `plan`; who may not be messaged is
`refusals`.
"""

from dataclasses import replace
from datetime import datetime

import msgspec
import polars as pl

from journey.campaign import Campaign
from journey.fill import MessageSpec, needs, spec_for
from journey.problems import ProjectError
from journey.render import render
from journey.steps import LanguageByContact, MessageStep, TemplateMessage
from journey.template import Template, resolve_language
from journey.words import SkipReason
from pipelines.refusals import is_us, refusals
from resources.home import Home

MENDING = ("PAUSED", "PENDING", "IN_APPEAL", "FLAGGED", "REINSTATED")
"""Template states that may end by themselves: they hold a message until it expires."""

APPROVED, MISSING = "APPROVED", "missing"
MARKETING = "MARKETING"

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
"""People who stand at a message step and have neither message nor skip yet."""

_FIXED = ["contact_id", "phone", "locale", "timezone", "opted_in", "opt_out_scope"]


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
    people = people.with_columns(refusals(home, people, now))
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
    us = is_us(bodies.get_column("phone")) if marketing else pl.Series([False] * bodies.height)
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
