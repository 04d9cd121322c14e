"""Checks of messages: a hole here would be a refusal by Meta.

What belongs here: which templates a message may be made from (languages, approval), its own and the shared variables,
coupons, and free text. What one template has places for is `check_template`; {name} texts are `check_links`.
"""

from collections.abc import Iterable, Mapping

from journey.campaign import AudienceEntry, Campaign
from journey.check_links import check_link, check_text
from journey.check_template import check_template
from journey.check_values import Place, check_property, check_variable
from journey.conditions import parse_number
from journey.findings import CheckContext, Findings
from journey.message_spec import VOUCHER_NAME
from journey.spelling import suggest
from journey.steps import Coupons, Header, LanguageByContact, Link, TemplateMessage, TextMessage
from journey.template import Template, resolve_language

_PULL = "Run `estafette templates pull` if it is new."
_DEGREES = {"latitude": 90, "longitude": 180}


def check_messages(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """Adds the findings about every message step and about the shared variables."""
    used: set[str] = set()
    for name, variable in campaign.variables.items():
        check_variable(variable, ("variables", name), campaign, context, findings)
    unclear = False
    for name, step in campaign.message_steps().items():
        path: Place = ("steps", name, "message")
        if isinstance(step.message, TextMessage):
            used.update(_text_message(step.message, path, campaign, context, findings))
            if name == campaign.first_step and any(isinstance(one, AudienceEntry) for one in campaign.entries):
                what = "free text reaches only people who wrote in the last 24 hours, and here everyone starts"
                findings.warning((*path, "text"), what, "Start an audience with a template.")
            continue
        message = step.message
        used.update(_own(message, path, campaign, context, findings))
        templates = templates_for(message, path, context, findings)
        for template in templates:
            used.update(template.body_placeholders)
            check_template(message, template, path, campaign, context, findings)
        unclear = unclear or not templates
    for name in campaign.variables:
        if name not in used and not unclear:
            what = f"no message of this campaign has a placeholder `{name}`"
            findings.warning(("variables", name), what, "Remove it, or correct its name.")


def templates_for(message: TemplateMessage, path: Place, context: CheckContext, findings: Findings) -> list[Template]:
    """The templates that a message may be made from: one, or one a language where the contact's decides."""
    known = {language: one for (name, language), one in context.templates.items() if name == message.template}
    if not known:
        names = {name for name, _ in context.templates}
        what = f"there is no template `{message.template}` in templates/"
        none = "Run `estafette templates pull` to fetch the templates from Meta."
        mend = suggest(message.template, names, none=none)
        findings.hole((*path, "template"), what, f"{mend} {_PULL}" if names else mend)
        return []
    if isinstance(message.language, str):
        serving = {one: known[one] for one in known if f"{_code(message.language)}_".startswith(f"{_code(one)}_")}
        return _in_language(message.template, message.language, (*path, "language"), serving, known, findings)
    fallback, found = message.language.fallback, list[Template]()
    if fallback is not None:
        # A fallback serves in its own language only, a language also in its base (`resolve_language`).
        exact = {one: known[one] for one in known if _code(one) == _code(fallback)}
        found = _in_language(message.template, fallback, (*path, "language", "fallback"), exact, known, findings)
    else:
        what = "contacts whose language is missing, or is not one of the template's, get no message"
        findings.warning((*path, "language"), what, "Add a fallback, e.g. {user: locale, fallback: fr}.")
        if not any(one.approved for one in known.values()):
            _not_approved(message.template, known.values(), (*path, "template"), findings)
    return found + [one for one in known.values() if one.approved and one not in found]


def _in_language(
    name: str,
    wanted: str,
    path: Place,
    serving: Mapping[str, Template],
    known: Mapping[str, Template],
    findings: Findings,
) -> list[Template]:
    """The template in a wanted language; `serving` are the known ones that could stand for it."""
    if not serving:
        listed = ", ".join(f"`{language}`" for language in sorted(known))
        what = f"the template `{name}` does not exist in the language `{wanted}`"
        findings.hole(path, what, f"It exists in {listed}. {_PULL}")
        return []
    template = resolve_language(serving, wanted)
    if template is not None:
        return [template]
    _not_approved(name, serving.values(), path, findings)
    return [max(serving.values(), key=lambda one: len(one.language))]


def _code(language: str) -> str:
    return language.strip().replace("-", "_").lower()


def _not_approved(name: str, templates: Iterable[Template], path: Place, findings: Findings) -> None:
    states = ", ".join(f"{one.status or 'of unknown status'} in `{one.language}`" for one in templates)
    mend = "Its messages wait until Meta approves it; see WhatsApp Manager, then run `estafette templates pull`."
    findings.not_ready(path, f"the template `{name}` is {states}, and not APPROVED", mend)


# -- what the message says itself ------------------------------------------------------------------------------------


def _text_message(
    message: TextMessage, path: Place, campaign: Campaign, context: CheckContext, findings: Findings
) -> set[str]:
    """The shared variables that a free text uses."""
    for name, variable in message.variables.items():
        check_variable(variable, (*path, "variables", name), campaign, context, findings)
    return check_text(message, path, campaign, findings)


def _own(
    message: TemplateMessage, path: Place, campaign: Campaign, context: CheckContext, findings: Findings
) -> set[str]:
    """The shared variables that the message's counted links use."""
    used: set[str] = set()
    for name, variable in message.variables.items():
        check_variable(variable, (*path, "variables", name), campaign, context, findings)
    for key, given in message.buttons.items():
        place: Place = (*path, "buttons", key)
        if isinstance(given, Link):
            for name, variable in given.variables.items():
                check_variable(variable, (*place, "variables", name), campaign, context, findings)
            used |= check_link(given, place, campaign, findings, coupons=message.coupons is not None)
        else:
            check_variable(given, place, campaign, context, findings)
    if isinstance(message.language, LanguageByContact):
        check_property(message.language.user, (*path, "language", "user"), context, findings)
    if message.header is not None:
        _header(message.header, (*path, "header"), campaign, context, findings)
    if message.coupons is not None:
        _coupons(message.coupons, (*path, "coupons"), campaign, context, findings)
        if VOUCHER_NAME in message.variables:
            what = f"the placeholder {{{{{VOUCHER_NAME}}}}} is filled twice, here and by `coupons`"
            findings.hole((*path, "variables", VOUCHER_NAME), what, "Keep one of the two.")
    return used


def _header(header: Header, path: Place, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    if header.location is not None:
        for key, variable in header.location:
            place: Place = (*path, "location", key)
            check_variable(variable, place, campaign, context, findings)
            most = _DEGREES.get(key)
            number = parse_number(variable.name) if variable.source == "text" else 0
            if most is not None and (number is None or abs(number) > most):
                what = f"“{variable.name}” is no {key}"
                findings.hole(place, what, f"Write decimal degrees from -{most} to {most}, e.g. 48.8566.")
    if header.value is not None:
        place = findings.source.path((*path, header.kind, "url"))
        check_variable(header.value, place, campaign, context, findings)
    if header.filename is not None:
        check_variable(header.filename, (*path, "document", "filename"), campaign, context, findings)


def _coupons(coupons: Coupons, path: Place, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    pool, place = coupons.pool, (*path, "pool")
    if "/" in pool or "\\" in pool or pool.startswith("."):
        findings.hole(place, f"“{pool}” cannot be the name of a file", "Write the name of a file in landing/coupons/.")
    elif pool.lower().endswith(".csv"):
        findings.hole(place, "the name of a pool is its file's without .csv", f"Write `pool: {pool[:-4]}`.")
    elif context.pools is not None and pool not in context.pools:
        none = f"Put its codes in landing/coupons/{pool}.csv, with a column `vouchers`."
        what = f"no codes have come in for the pool `{pool}`"
        near = suggest(pool, context.pools, none="")
        findings.warning(place, what, f"{none} {near}".rstrip() if near.startswith("Did") else none)
    elif context.pools is not None:
        left, need = context.pools[pool], _need(campaign, context)
        if not left or (need is not None and left < need):
            what = f"the pool `{pool}` has {left:,} free codes" + (f" for {need:,} people" if need else "")
            mend = "Who gets no code gets no message; put more codes in landing/coupons/."
            findings.warning(place, what, mend)
    if coupons.tag is not None and "|" in coupons.tag:
        findings.hole((*path, "tag"), f"“{coupons.tag}” has a |, which separates tags", "Use another character.")


def _need(campaign: Campaign, context: CheckContext) -> int | None:
    """How many people the largest audience of the campaign has now, where that is known."""
    sizes = [context.people[entry.segment] for _, entry in campaign.audiences() if entry.segment in context.people]
    return max(sizes, default=None)
