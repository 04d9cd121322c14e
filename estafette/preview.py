"""`preview` and `test`: one message of one step, seen or sent.

What belongs here: making one body by the same code that a pass uses, and showing it. `preview` asks all that a pass
asks before it sends (consent, templates, variables, media); `test` goes to oneself and is counted nowhere (no row, no
callback id) but in the limit of people in 24 hours, where Meta counts it too. Neither claims a coupon code nor stores a
link: samples stand in their places.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.console import Console

from estafette import show
from estafette.pulling import need_token
from estafette.session import Session
from journey.campaign import Campaign
from journey.clock import to_us
from journey.codes import explain
from journey.fill import spec_for
from journey.marks import LINK, fill_marks, links_of
from journey.message_spec import MessageSpec, TextSpec
from journey.outcome import Action
from journey.phones import normalise
from journey.problems import EstafetteError, ProjectError, UsageError
from journey.render import render
from journey.shown import ShownMessage
from journey.shown import show as shown
from journey.spelling import suggest
from journey.steps import Coupons, MessageStep, TemplateMessage, TextMessage
from journey.template import Template
from pipelines.languages import asked_language, fallback_of, languages_of, template_for
from pipelines.limits import limited
from pipelines.rendering import ARRIVED, rendered_for, text_spec, wanted_by, with_contacts
from resources.home import Home
from resources.reached import note_by_hand
from resources.stopping import known

SAMPLE_VOUCHER, SAMPLE_LINK = "SAMPLE-CODE", "sample"


def preview(session: Session, name: str, step_name: str | None, contact: str, event: str | None) -> None:
    """Show the message that a contact would get at a step, and why not now where there is a reason; only the reason
    where the message can't be made."""
    with session.open() as home:
        campaign, step, label = _step(home, name, step_name)
        _exists(home, contact)
        attributes = _attributes(home, campaign, step, contact, event)
        frame = rendered_for(home, campaign, step, _one(contact, label, attributes), home.clock())
        limits = limited(home, campaign, step, frame, home.clock()).row(0, named=True)
        templates = home.project.templates
    found = frame.row(0, named=True)
    skipped = None
    if limits["skip_reason"] is not None:
        skipped = {"reason": limits["skip_reason"], "detail": limits["skip_detail"]}
    document: dict[str, Any] = {
        "campaign": name,
        "step": label,
        "contact_id": contact,
        "kind": found["kind"],
        "template": found["template"],
        "language": found["language"],
        "skipped": skipped,
        "held": found["held_why"],
        "held_detail": found["held_detail"],
        "coupon": None,
    }

    def say(console: Console) -> None:
        if skipped is not None:
            why = f"{skipped['reason']} ({skipped['detail']})"
            console.print(f"{contact} would get no message at {name}/{label} now: {why}.", style="yellow")

    if found["body"] is None:
        session.show(document, say)
        return
    template = templates[found["template"], found["language"]] if found["template"] is not None else None
    text, bubble = _sampled(frame, template)
    coupons = _coupons(step) if found["needs_coupon"] else None
    if coupons is not None:
        document["coupon"] = {"pool": coupons.pool, "sample": SAMPLE_VOUCHER}
    body = json.loads(text)

    def draw(console: Console) -> None:
        of = f"{found['template']} ({found['language']})" if template is not None else "free text"
        console.print(f"{name}/{label} to {contact}: {of}")
        say(console)
        if found["held_why"] is not None:
            detail = f" ({found['held_detail']})" if found["held_detail"] is not None else ""
            console.print(f"It would be held: {found['held_why']}{detail}.", style="yellow")
        console.print(show.bubble(bubble))
        for note in _notes(coupons, bubble):
            console.print(note, style="dim")
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
        template, frame = _made(home, campaign, step, _one(contact or "", label, attributes), phone)
        body, bubble = _sampled(frame, template)
        number = home.project.settings.senders[campaign.sender].phone_number_id

        async def post() -> Any:
            async with home.poster() as poster:
                return await poster.post(number, body)

        outcome = asyncio.run(post())
        if outcome.action in (Action.accepted, Action.unknown) and step.message.kind == "template":
            with home.ledger.write() as tx:
                note_by_hand(tx, campaign.sender, phone, to_us(home.clock()))
    if outcome.action is not Action.accepted:
        details = f": {outcome.details}" if outcome.details else ""
        code = f" (code {outcome.code})" if outcome.code is not None else ""
        raise EstafetteError(
            f"{outcome.title or 'the message was not accepted'}{code}{details}", mend=explain(outcome.code).sentence
        )

    def draw(console: Console) -> None:
        console.print(show.bubble(bubble))
        for note in _notes(_coupons(step), bubble):
            console.print(note, style="dim")
        console.print(f"Accepted: to {phone}, as {outcome.wamid}. It is counted nowhere.")

    session.show(
        {"campaign": name, "step": label, "to": phone, "wamid": outcome.wamid, "message": show.document_of(bubble)},
        draw,
    )


def _sampled(frame: pl.DataFrame, template: Template | None) -> tuple[str, ShownMessage]:
    """The one body of a rendered frame with samples in the places of its codes, and how it looks."""
    voucher, code = pl.Series([SAMPLE_VOUCHER]), pl.Series([SAMPLE_LINK])
    places = links_of(frame.columns)
    body = str(fill_marks(frame.get_column("body"), voucher, dict.fromkeys(places, code)).item())
    leads = {place: fill_marks(frame.get_column(f"{LINK}{place}"), voucher).item() for place in places}
    return body, shown(template, body, {place: address for place, address in leads.items() if address is not None})


def _coupons(step: MessageStep) -> Coupons | None:
    return step.message.coupons if isinstance(step.message, TemplateMessage) else None


def _notes(coupons: Coupons | None, bubble: ShownMessage) -> list[str]:
    """What is not as it will be."""
    notes = []
    if coupons is not None:
        notes.append(f"{SAMPLE_VOUCHER} stands for a code of the pool {coupons.pool}; none is used up.")
    if any(button.leads_to is not None for button in bubble.buttons):
        notes.append(f"The counted link has a code of its own in each message; `{SAMPLE_LINK}` leads nowhere.")
    return notes


def _step(home: Home, name: str, step_name: str | None) -> tuple[Campaign, MessageStep, str]:
    """The campaign and its message step of that name, or its first one."""
    known(home.project, name)
    if name in home.project.holes:
        raise ProjectError(home.project.holes[name])
    campaign = home.project.campaigns[name]
    sending = campaign.message_steps()
    if not sending:
        raise EstafetteError(f"no step of {name} sends a message", mend="Choose another campaign")
    label = step_name or next(iter(sending))
    if label not in campaign.steps:
        raise EstafetteError(f"{name} has no step `{label}`", mend=suggest(label, campaign.steps, none=""))
    if label not in sending:
        listed = ", ".join(f"`{one}`" for one in sending)
        raise EstafetteError(
            f"the step `{label}` of {name} is a {campaign.steps[label].kind} and sends nothing",
            mend=f"Messages are sent at {listed}",
        )
    return campaign, sending[label], label


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
        except (ValueError, RecursionError) as error:
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
    """The properties that a step's message needs, in whichever language it can be made."""
    message = step.message
    if isinstance(message, TextMessage):
        return wanted_by(message, [text_spec(home, campaign, message)])
    specs: list[MessageSpec] = []
    problem: ProjectError | None = None
    for template in languages_of(home, message).values():
        try:
            specs.append(spec_for(message, campaign.variables, template))
        except ProjectError as error:  # a language that nobody of this campaign gets may have other placeholders
            problem = error
    if not specs and problem is not None:
        raise problem
    return wanted_by(message, specs)


def _made(
    home: Home, campaign: Campaign, step: MessageStep, person: pl.DataFrame, phone: str
) -> tuple[Template | None, pl.DataFrame]:
    """The template (None: free text) and the rendered frame for `phone`, with the data of `person`, whoever may be
    messaged."""
    message, zone = step.message, home.project.settings.timezone
    people = with_contacts(home, person, _wanted(home, campaign, step)).with_columns(phone=pl.lit(phone))
    spec: MessageSpec | TextSpec
    if isinstance(message, TextMessage):
        template, spec = None, text_spec(home, campaign, message)
    else:
        template = _approved(languages_of(home, message), message, people)
        spec = spec_for(message, campaign.variables, template)
    frame = render(spec, people, default_timezone=zone)
    made = frame.row(0, named=True)
    if made["body"] is None:
        raise EstafetteError(
            f"the message can't be made: {made['skip_reason']} ({made['skip_detail']})",
            mend="Name a contact that has it with --contact, or give values with --event",
        )
    return template, frame


def _approved(library: Mapping[str, Template], message: TemplateMessage, people: pl.DataFrame) -> Template:
    asked = asked_language(message, people).item()
    template, status = template_for(library, asked, fallback_of(message))
    if template is None or not template.approved:
        status = status if template is None else template.status
        raise EstafetteError(
            f"the template {message.template} in {asked or 'no language'} can't be sent: {status}",
            mend="Only approved templates go out; `estafette templates pull` asks Meta again",
        )
    return template
