"""`preview` and `test`: one message of one step, seen or sent.

What belongs here: making one body by the same code that a pass uses, and showing it. `preview` asks all that a pass
asks before it sends (consent, templates, variables); `test` goes to oneself and is counted nowhere: no row, no callback
id.
"""

import asyncio
import json
from typing import Any

import polars as pl
from rich.console import Console

from estafette import show
from estafette.checking import known
from estafette.pulling import need_token
from estafette.session import Session
from journey.campaign import Campaign
from journey.codes import explain
from journey.fill import needs, spec_for
from journey.outcome import Action
from journey.phones import normalise
from journey.problems import EstafetteError, ProjectError, UsageError
from journey.render import render
from journey.shown import show as shown
from journey.spelling import suggest
from journey.steps import LanguageByContact, MessageStep
from journey.template import Template
from pipelines.rendering import ARRIVED, rendered_for, template_for, with_contacts
from resources.home import Home


def preview(session: Session, name: str, step_name: str | None, contact: str, event: str | None) -> None:
    """Show the message that a contact would get now at a step, or why it would be skipped."""
    with session.open() as home:
        campaign, step, label = _step(home, name, step_name)
        _exists(home, contact)
        attributes = _attributes(home, campaign, step, contact, event)
        found = rendered_for(home, campaign, step, _one(contact, label, attributes), home.clock()).row(0, named=True)
        templates = home.project.templates
    skipped = None
    if found["skip_reason"] is not None:
        skipped = {"reason": found["skip_reason"], "detail": found["skip_detail"]}
    document: dict[str, Any] = {
        "campaign": name,
        "step": label,
        "contact_id": contact,
        "template": found["template"],
        "language": found["language"],
        "skipped": skipped,
        "held": found["held_why"],
    }
    if skipped is not None:

        def say(console: Console) -> None:
            console.print(
                f"{contact} would get no message at {name}/{label}: {skipped['reason']} ({skipped['detail']})."
            )

        session.show(document, say)
        return
    bubble = shown(templates[found["template"], found["language"]], found["body"])
    body = json.loads(found["body"])

    def draw(console: Console) -> None:
        console.print(f"{name}/{label} to {contact}: {found['template']} ({found['language']})")
        if found["held_why"] is not None:
            console.print(f"It would be held: {found['held_why']}.", style="yellow")
        console.print(show.bubble(bubble))
        console.print("The request:", style="dim")
        console.print_json(data=body)

    session.show({**document, "message": show.document_of(bubble), "body": body}, draw)


def send_test(session: Session, name: str, step_name: str, to: str, contact: str | None, event: str | None) -> None:
    """Send one message of a step to a phone. EstafetteError where it can't be made, or Meta refuses it."""
    with session.open() as home:
        campaign, step, label = _step(home, name, step_name)
        need_token(home)
        phone = normalise(to, home.project.settings.region)
        if phone is None:
            mend = "Write it with its country, e.g. +33612345678"
            raise UsageError(f"`{to}` is no phone number", where="--to", mend=mend)
        if contact is not None:
            _exists(home, contact)
        attributes = _attributes(home, campaign, step, contact, event)
        template, body = _body(home, campaign, step, _one(contact or "", label, attributes), phone)
        number = home.project.settings.senders[campaign.sender].phone_number_id

        async def post() -> Any:
            async with home.poster() as poster:
                return await poster.post(number, body)

        outcome = asyncio.run(post())
    if outcome.action is not Action.accepted:
        details = f": {outcome.details}" if outcome.details else ""
        code = f" (code {outcome.code})" if outcome.code is not None else ""
        raise EstafetteError(
            f"{outcome.title or 'the message was not accepted'}{code}{details}", mend=explain(outcome.code).sentence
        )
    bubble = shown(template, body)

    def draw(console: Console) -> None:
        console.print(show.bubble(bubble))
        console.print(f"Accepted: to {phone}, as {outcome.wamid}. It is counted nowhere.")

    session.show(
        {"campaign": name, "step": label, "to": phone, "wamid": outcome.wamid, "message": show.document_of(bubble)},
        draw,
    )


def _step(home: Home, name: str, step_name: str | None) -> tuple[Campaign, MessageStep, str]:
    known(home.project, name)
    if name in home.project.holes:
        raise ProjectError(home.project.holes[name])
    campaign = home.project.campaigns[name]
    label = step_name or campaign.first_step
    if label not in campaign.steps:
        raise EstafetteError(f"{name} has no step `{label}`", mend=suggest(label, campaign.steps, none=""))
    return campaign, campaign.steps[label], label


def _exists(home: Home, contact: str) -> None:
    if home.contacts.find(ids=[contact]).is_empty():
        mend = 'Contacts come by `estafette import`; see `estafette query "SELECT contact_id FROM contacts LIMIT 5"`'
        raise EstafetteError(f"there is no contact `{contact}`", mend=mend)


def _one(contact: str, step: str, attributes: dict[str, Any] | None) -> pl.DataFrame:
    """One participant who has just arrived at a step, as `plan` finds it."""
    row = {
        "participant_id": 0,
        "contact_id": contact,
        "step": step,
        "visit": 1,
        "key": "",
        "occurrence": "preview",
        "priority": 1,
        "attributes": json.dumps(attributes) if attributes is not None else None,
        "not_after": None,
    }
    return pl.DataFrame([row], schema=ARRIVED)


def _attributes(
    home: Home, campaign: Campaign, step: MessageStep, contact: str | None, event: str | None
) -> dict[str, Any] | None:
    """The values of `{event: …}`: as given; else the contact's row of the campaign's segments; else none."""
    if event is not None:
        try:
            given = json.loads(event)
        except ValueError as error:
            raise UsageError(f"it is not JSON: {error}", where="--event", mend='Write e.g. {"points": 120}') from None
        if not isinstance(given, dict):
            raise UsageError("it is no JSON object", where="--event", mend='Write e.g. {"points": 120}')
        return given
    if contact is None or not any(source == "event" for source, _ in _wanted(home, campaign, step)):
        return None
    for _, entry in campaign.audiences():
        row = home.segment(entry.segment, home.clock()).frame.filter(pl.col("contact_id") == contact)
        if row.height:
            found: dict[str, Any] = json.loads(
                row.drop("contact_id").select(pl.struct(pl.all()).struct.json_encode()).item()
            )
            return found
    return None


def _wanted(home: Home, campaign: Campaign, step: MessageStep) -> set[tuple[str, str]]:
    """The properties that a step's message needs, in whichever language."""
    templates = [one for (name, _), one in home.project.templates.items() if name == step.message.template]
    found = {need for one in templates for need in needs(spec_for(step.message, campaign.variables, one))}
    language = step.message.language
    return {*found, *({("user", language.user)} if isinstance(language, LanguageByContact) else set())}


def _body(home: Home, campaign: Campaign, step: MessageStep, person: pl.DataFrame, phone: str) -> tuple[Template, str]:
    """The template and the body for `phone`, with the data of `person`, whoever may be messaged."""
    message = step.message
    library = {language: one for (name, language), one in home.project.templates.items() if name == message.template}
    people = with_contacts(home, person, _wanted(home, campaign, step)).with_columns(phone=pl.lit(phone))
    if isinstance(message.language, LanguageByContact):
        asked, fallback = people.get_column(f"user.{message.language.user}").item(), message.language.fallback
    else:
        asked, fallback = message.language, None
    template, status = template_for(library, asked, fallback)
    if template is None or not template.approved:
        status = status if template is None else template.status
        raise EstafetteError(
            f"the template {message.template} in {asked or 'no language'} can't be sent: {status}",
            mend="Only approved templates go out; `estafette templates pull` asks Meta again",
        )
    made = render(
        spec_for(message, campaign.variables, template), people, default_timezone=home.project.settings.timezone
    ).row(0, named=True)
    if made["body"] is None:
        raise EstafetteError(
            f"the message can't be made: {made['skip_reason']} ({made['skip_detail']})",
            mend="Name a contact that has it with --contact, or give values with --event",
        )
    return template, str(made["body"])
