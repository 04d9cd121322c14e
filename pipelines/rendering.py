"""Rendering for real people: what a message step needs of the contacts and the templates, and the bodies it makes.

What belongs here: gathering contacts' and attributes' columns, and the call of `journey.render`, with why somebody gets
no body. Writing messages is `plan`; who may not be messaged is `refusals`; who gets which language is `languages`; what
becomes of media that can't be fetched is `media`.
"""

from datetime import datetime

import msgspec
import polars as pl

from journey.campaign import Campaign
from journey.fill import spec_for, text_spec_for
from journey.locales import language_of
from journey.marks import LABEL, LINK
from journey.message_spec import MessageSpec, TextSpec, needs
from journey.problems import ProjectError
from journey.refusing import REFUSALS
from journey.render import E164, render
from journey.steps import LanguageByContact, MessageStep, TemplateMessage, TextMessage
from journey.template import Template
from journey.words import SkipReason
from pipelines.languages import MISSING, asked_language, fallback_of, languages_of, template_for
from pipelines.media import with_media_checked
from pipelines.refusals import is_us, refusals
from resources.home import Home

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

PLANNED = {
    **ARRIVED,
    "phone": pl.String,
    "timezone": pl.String,
    "kind": pl.String,
    "template": pl.String,
    "language": pl.String,
    "category": pl.String,
    "body": pl.String,
    "media": pl.String,
    "held_why": pl.String,
    "held_detail": pl.String,
    "skip_reason": pl.String,
    "skip_detail": pl.String,
    "needs_coupon": pl.Boolean,
}
"""What `rendered_for` gives, beside the columns of counted links (`journey.marks`)."""

_FIXED = ["contact_id", "phone", "locale", "timezone", "opted_in", "opt_out_scope"]


def rendered_for(home: Home, campaign: Campaign, step: MessageStep, group: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What everyone of `group` (ARRIVED) would be sent at `step`, or why not: PLANNED, rows in order.

    `body` is null where `skip_reason` is not; it has marks in it where a coupon code (`needs_coupon`) and the codes of
    counted links go (`journey.marks.fill_marks`). `kind` is template or text; template, language and category are null
    for a text and where no template serves. `held_why`: it may not go out yet; `held_detail` is the address that stands
    in the way, and why, where that is media. `timezone` is the contact's own; `media` is the address of the header's
    picture, video or document.
    """
    message = step.message
    if isinstance(message, TextMessage):
        return _texts(home, campaign, message, group, now)
    library = languages_of(home, message)
    specs = {key: _spec(campaign, message, template) for key, template in library.items()}
    usable = [spec for spec in specs.values() if isinstance(spec, MessageSpec)]
    people = with_contacts(home, group, wanted_by(message, usable))
    people = people.with_columns(refusals(home, people, now))
    people = people.with_columns(wanted_language=asked_language(message, people), row=pl.int_range(pl.len()))
    parts = []
    for (asked,), part in people.partition_by("wanted_language", as_dict=True, maintain_order=True).items():
        template, status = template_for(library, str(asked) if asked is not None else None, fallback_of(message))
        spec = specs[template.language] if template is not None else f"{asked or 'no language'}: {status}"
        parts.append(
            _part(home, part, spec)
            if isinstance(spec, MessageSpec)
            else _unserved(part, f"{message.template} in {spec}", missing=status == MISSING)
        )
    if not parts:
        return pl.DataFrame(schema=PLANNED)
    return pl.concat(parts, how="diagonal_relaxed").sort("row").drop("row")


def text_spec(home: Home, campaign: Campaign, message: TextMessage) -> TextSpec:
    """What fills a free text. ProjectError where something is missing.

    A text has no language of its own: its numbers and dates are written in that of the campaign's first template
    message, else in that of the settings' region.
    """
    languages = [
        message.language.fallback if isinstance(message.language, LanguageByContact) else message.language
        for message in (step.message for step in campaign.message_steps().values())
        if isinstance(message, TemplateMessage)
    ]
    found = next((one for one in languages if one is not None), None)
    return text_spec_for(message, campaign.variables, found or language_of(home.project.settings.region))


def wanted_by(
    message: TemplateMessage | TextMessage, specs: list[MessageSpec] | list[TextSpec]
) -> set[tuple[str, str]]:
    """The properties, by source, that a message needs: of its variables and of its language."""
    found = {(str(source), name) for spec in specs for source, name in needs(spec)}
    if isinstance(message, TemplateMessage) and isinstance(message.language, LanguageByContact):
        found.add(("user", message.language.user))
    return found


def _spec(campaign: Campaign, message: TemplateMessage, template: Template) -> MessageSpec | str:
    """What fills a template, or why nothing does: `check` looks at the languages that people are to get, and others of
    the same name may have other placeholders."""
    try:
        return spec_for(message, campaign.variables, template)
    except ProjectError as error:
        return f"{template.language}: {error.problems[0].message}"


def _unserved(part: pl.DataFrame, detail: str, *, missing: bool) -> pl.DataFrame:
    """People for whom there is no template; `detail` says why."""
    reason = SkipReason.template_language_missing if missing else SkipReason.template_not_approved
    called = pl.col("phone").str.contains(E164).fill_null(False)
    refused = pl.col("marketing_refusal").is_not_null()  # its category is not known
    return _planned(
        part.with_columns(
            skip_reason=pl.when(refused)
            .then("marketing_refusal")
            .when(~called)
            .then(pl.lit(SkipReason.invalid_phone.value))
            .otherwise(pl.lit(reason.value)),
            skip_detail=pl.when(refused)
            .then("marketing_refusal_detail")
            .when(~called)
            .then(pl.lit("the phone is missing or not E.164 with +"))
            .otherwise(pl.lit(detail)),
        ),
        kind="template",
    )


def _part(home: Home, part: pl.DataFrame, spec: MessageSpec) -> pl.DataFrame:
    """One language's people."""
    template = spec.template
    bodies = render(spec, part, default_timezone=home.project.settings.timezone)
    marketing = template.category == MARKETING
    us = is_us(bodies.get_column("phone")) if marketing else pl.Series([False] * bodies.height)
    refusal = "marketing_refusal" if marketing else "refusal"
    refused = pl.col(refusal).is_not_null()
    invalid = pl.col("skip_reason") == SkipReason.invalid_phone
    held = None if template.approved else SkipReason.template_not_approved.value
    settled = bodies.with_columns(us=us).with_columns(
        pl.when(refused)
        .then(refusal)
        .when(invalid)
        .then("skip_reason")
        .when("us")
        .then(pl.lit(SkipReason.us_marketing.value))
        .otherwise("skip_reason")
        .alias("skip_reason"),
        pl.when(refused)
        .then(f"{refusal}_detail")
        .when(invalid)
        .then("skip_detail")
        .when("us")
        .then(pl.lit("Meta takes no marketing to numbers of the United States"))
        .otherwise("skip_detail")
        .alias("skip_detail"),
        pl.lit(template.name).alias("template"),
        pl.lit(template.language).alias("language"),
        pl.lit(template.category).alias("category"),
        pl.lit(held, pl.String).alias("held_why"),
    )
    if spec.media and spec.header_kind is not None:
        settled = with_media_checked(home, settled, spec.header_kind)
    return _planned(settled, kind="template", coupons=spec.takes_voucher)


def _texts(home: Home, campaign: Campaign, message: TextMessage, group: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Free text: what is refused for marketing only is not refused here. Whoever wrote is answered by a person whether
    or not they ever opted in, unless they opted out of everything."""
    try:
        spec = text_spec(home, campaign, message)
    except ProjectError as error:  # `check` has kept such a campaign from being live
        why = SkipReason.missing_variable.value
        return _planned(
            group.with_columns(skip_reason=pl.lit(why), skip_detail=pl.lit(error.problems[0].message)), kind="text"
        )
    people = with_contacts(home, group, wanted_by(message, [spec]))
    people = people.with_columns(refusals(home, people, now))
    bodies = render(spec, people, default_timezone=home.project.settings.timezone)
    refused = pl.col("refusal").is_not_null()
    if campaign.by_hand:
        refused = refused & pl.col("refusal").is_in([one.reason.value for one in REFUSALS.values() if one.by_hand])
    settled = bodies.with_columns(
        pl.when(refused).then("refusal").otherwise("skip_reason").alias("skip_reason"),
        pl.when(refused).then("refusal_detail").otherwise("skip_detail").alias("skip_detail"),
    )
    return _planned(settled, kind="text")


def _planned(people: pl.DataFrame, *, kind: str, coupons: bool = False) -> pl.DataFrame:
    """PLANNED and the columns of links, with `row` where it is there; what was not made is null."""
    goes = pl.col("skip_reason").is_null()
    people = people.with_columns(
        [pl.lit(None, dtype).alias(name) for name, dtype in PLANNED.items() if name not in people.columns]
    )
    links = [name for name in people.columns if name.startswith((LINK, LABEL))]
    return people.with_columns(
        pl.lit(kind).alias("kind"),
        (goes & coupons).alias("needs_coupon"),
        pl.when(goes).then("body").alias("body"),
        pl.when(goes).then("media").alias("media"),
        *(pl.when(goes).then(name).alias(name) for name in links),
    ).select(*PLANNED, *links, *(["row"] if "row" in people.columns else []))


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
    """One column a name (nested by dots) out of JSON texts, each value as JSON has it. Each distinct text is read
    once."""
    distinct = texts.unique(maintain_order=True)
    places = texts.to_frame().join(distinct.to_frame().with_row_index("place"), on=texts.name, how="left",
                                   nulls_equal=True, maintain_order="left").get_column("place")  # fmt: skip
    decoded = [msgspec.json.decode(text) if text is not None else {} for text in distinct]
    series = []
    for name in names:
        values = [_dig(one, name) for one in decoded]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) <= 1 and not kinds & {dict, list}:
            series.append(pl.Series(f"event.{name}", values).gather(places))
        else:
            taken = [values[place] for place in places]
            series.append(pl.Series(f"event.{name}", taken, dtype=pl.Object))
    return series


def _dig(value: object, name: str) -> object:
    if isinstance(value, dict) and name in value:
        return value[name]
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
