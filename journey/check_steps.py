"""Checks of what steps wait for, ask and write.

What belongs here: the bounds of waits, the messages and buttons that waits name, answers, moments, splits, experiments
and updates. Where the ways lead is `check_flow`; what messages say is `check_message`.
"""

from datetime import timedelta

from journey.answers import compared
from journey.campaign import Campaign
from journey.check_entries import check_time, check_zone
from journey.check_flow import reached_from
from journey.check_message import templates_for
from journey.check_template import button_of
from journey.check_values import Place, check_attribute, check_property, check_segment, check_user_conditions
from journey.clock import is_zone, resolve, utc, zone
from journey.conditions import Scalar, written
from journey.contact_rows import CONTACT, known_column
from journey.contact_update import ALSO_SET, fit
from journey.findings import CheckContext, Findings
from journey.properties import KIND_WORDS
from journey.source import Key
from journey.spelling import nearest, suggest
from journey.steps import (
    DelayStep,
    ExperimentStep,
    Link,
    MessageStep,
    OnReply,
    SplitStep,
    TemplateMessage,
    UpdateStep,
    WaitBranch,
    WaitForStep,
)
from journey.stop_words import is_one_of

LONGEST_READ_WAIT = timedelta(days=7)  # the seed: "jusqu'à 7 jours"
LONGEST_WAIT = timedelta(days=90)


def check_steps(campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    """Adds the findings about every step beside its arrows and its message's content."""
    for name, step in campaign.steps.items():
        path: Place = ("steps", name)
        if isinstance(step, MessageStep):
            if step.on_read is not None and step.on_read.within > LONGEST_READ_WAIT:
                _too_long("to wait for a read", LONGEST_READ_WAIT, (*path, "on_read", "within"), findings)
            if step.on_reply is not None:
                _on_reply(step, step.on_reply, (*path, "on_reply"), context, findings)
        elif isinstance(step, DelayStep):
            _delay(step, (*path, "delay"), campaign, context, findings)
        elif isinstance(step, WaitForStep):
            _wait_for(name, step, campaign, context, findings)
        elif isinstance(step, SplitStep):
            _split(step, (*path, "split", "branches"), campaign, context, findings)
        elif isinstance(step, ExperimentStep):
            if len(step.arms) == 1:
                what = "an experiment with one arm compares nothing"
                findings.warning((*path, "experiment"), what, "Add an arm, or name its step with `next` instead.")
        else:
            _update(step, (*path, "update"), context, findings)


def _too_long(what: str, most: timedelta, path: Place, findings: Findings) -> None:
    findings.hole(path, f"{findings.source.value(path)} is too long {what}", f"Write at most {most.days}d.")


# -- answers ---------------------------------------------------------------------------------------------------------


def _on_reply(step: MessageStep, on_reply: OnReply, path: Place, context: CheckContext, findings: Findings) -> None:
    if on_reply.within > LONGEST_WAIT:
        _too_long("to wait for an answer", LONGEST_WAIT, (*path, "within"), findings)
    places = {answer: (*path, "answers", answer) for answer in on_reply.answers}
    _answers(step, places, context, findings)


def _answers(step: MessageStep, places: dict[str, Place], context: CheckContext, findings: Findings) -> None:
    """Answers that can be told apart, can come, and that a button of the message says."""
    seen: dict[str, str] = {}
    known = _quick_replies(step, context, findings)
    for answer, path in places.items():
        form = compared(answer)
        if not form:
            findings.hole(path, f"“{answer}” is no answer that anyone could give", "Write a word, or remove it.")
        elif form in seen:
            what = f"“{answer}” and “{seen[form]}” are the same answer: case and final punctuation are ignored"
            findings.hole(path, what, "Keep one of the two.")
        elif is_one_of([answer], context.stop_words):
            what = f"“{answer}” is a stop word: whoever answers it opts out and leaves the campaign"
            findings.warning(path, what, "Remove it, or change `stop_words` in estafette.yaml.")
        elif known is not None and form not in {compared(one) for one in known}:
            what = f"no quick-reply button of the template says “{answer}”; only who writes it is understood"
            near = nearest(answer, known)
            listed = ", ".join(f"“{one}”" for one in known)
            mend = f"Did you mean “{near}”?" if near else f"Its buttons: {listed}." if known else "It has none at all."
            findings.warning(path, what, mend)
        seen.setdefault(form, answer)


def _quick_replies(step: MessageStep, context: CheckContext, findings: Findings) -> list[str] | None:
    """What the buttons of the message say, in any of its languages; None where that is not known, or it has no
    template."""
    if not isinstance(step.message, TemplateMessage):
        return None
    templates = templates_for(step.message, (), context, Findings(findings.source))
    if not templates:
        return None
    return [one.text for template in templates for one in template.buttons if one.type == "QUICK_REPLY"]


# -- delays ----------------------------------------------------------------------------------------------------------


def _delay(step: DelayStep, path: Place, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    until = step.until
    if (until is None or until.clock is not None) and _stands(findings, (*path, "if_past")):
        what = "`if_past` has no effect here: what is waited for is always ahead"
        findings.warning((*path, "if_past"), what, "Remove it.")
    if until is None:
        return
    place: Place = (*path, "until")
    if until.user is not None:
        check_property(until.user, (*place, "user"), context, findings)
    if until.event is not None:
        check_attribute(until.event, (*place, "event"), campaign, context, findings, covered=False)
    if until.at is None:
        return
    time = check_time(until.at, place, findings)
    if time is None or context.now is None or context.timezone is None or not is_zone(context.timezone):
        return
    instant = resolve(time, zone(context.timezone)) if time.tzinfo is None else utc(time)
    if instant + timedelta(days=1) < context.now:  # over in every zone
        what = "this time is over: whoever comes here leaves the campaign"
        findings.warning(place, what, "Write a time to come.")


def _stands(findings: Findings, path: Place) -> bool:
    return findings.source.path(path) == path


# -- wait_for --------------------------------------------------------------------------------------------------------


def _wait_for(name: str, step: WaitForStep, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    path: Place = ("steps", name, "wait_for")
    if step.within > LONGEST_WAIT:
        _too_long("to wait", LONGEST_WAIT, (*path, "within"), findings)
    for number, branch in enumerate(step.branches):
        place: Place = (*path, "branches", number)
        if any(_same(branch, one) for one in step.branches[:number]):
            findings.warning(place, "a branch before waits for the same", "Keep one of the two: the first would win.")
        if branch.step is not None:
            _news(name, branch, place, campaign, context, findings)


def _same(one: WaitBranch, other: WaitBranch) -> bool:
    return one.model_copy(update={"next": other.next}) == other


_KEYS = {"reply": "reply_to", "read": "read", "click": "click"}


def _news(
    name: str, branch: WaitBranch, path: Place, campaign: Campaign, context: CheckContext, findings: Findings
) -> None:
    """A branch that waits for news of a message: it is one, it can have been sent, and it has the button."""
    place: Place = (*path, _KEYS[branch.kind])
    messages = campaign.message_steps()
    step = messages.get(branch.step or "")
    if step is None:
        what = f"there is no step `{branch.step}`"
        if branch.step in campaign.steps:
            what = f"the step `{branch.step}` sends no message"
        findings.hole(place, what, suggest(branch.step or "", messages, none="Name a step that sends a message."))
        return
    if name not in reached_from(campaign, branch.step or ""):
        what = f"no way leads from `{branch.step}` to this step, so that its message was never sent here"
        findings.hole(place, what, "Name a message that comes before.")
    elif branch.kind == "reply":
        places: dict[str, Place] = {}
        for number, answer in enumerate(branch.answers):
            item = (*path, "is", number)
            places.setdefault(answer, item if _stands(findings, item) else (*path, "is"))
        _answers(step, places, context, findings)
    elif branch.kind == "click":
        _click(branch, step, path, context, findings)


def _click(branch: WaitBranch, step: MessageStep, path: Place, context: CheckContext, findings: Findings) -> None:
    message = step.message
    links: list[Key] = []
    if isinstance(message, TemplateMessage):
        links = [key for key, one in message.buttons.items() if isinstance(one, Link)]
    if not links:
        what = f"the message of `{branch.step}` has no counted link, and WhatsApp tells nobody of a tap on another one"
        mend = "Write its button as {link: https://…} there, or wait for something else."
        findings.hole((*path, "click"), what, mend)
        return
    if branch.button is None or branch.button in links:
        return
    assert isinstance(message, TemplateMessage)
    templates = templates_for(message, (), context, Findings(findings.source))
    found = [button for one in templates if (button := button_of(branch.button, one)) is not None]
    if any(key in (button.text, button.index) for button in found for key in links):
        return
    shown = ", ".join(f"“{key}”" if isinstance(key, str) else str(key) for key in links)
    if found:
        what = f"the button “{found[0].text}” of `{branch.step}` is no counted link: nobody learns of a tap on it"
        mend = f"Its counted links: {shown}."
    else:
        what = f"the message of `{branch.step}` has no button " + (
            f"“{branch.button}”" if isinstance(branch.button, str) else f"at position {branch.button}"
        )
        mend = f"Its counted links: {shown}."
    findings.hole((*path, "button"), what, mend)


# -- split and update ------------------------------------------------------------------------------------------------


def _split(step: SplitStep, path: Place, campaign: Campaign, context: CheckContext, findings: Findings) -> None:
    for number, branch in enumerate(step.branches):
        place: Place = (*path, number)
        if any(branch.model_copy(update={"next": one.next}) == one for one in step.branches[:number]):
            what = "a branch before asks the same: nobody comes here"
            findings.warning(place, what, "Remove it, or ask something else.")
        if branch.segment is not None:
            check_segment(branch.segment, (*place, "segment"), context, findings)
        check_user_conditions(branch.user or {}, (*place, "user"), context, findings)
        for name in branch.event or {}:
            check_attribute(name, (*place, "event", name), campaign, context, findings, covered=True)


def _update(step: UpdateStep, path: Place, context: CheckContext, findings: Findings) -> None:
    for name, value in step.set.items():
        place: Place = (*path, "set", name)
        own = known_column(name) or (name.casefold() if name.casefold() in CONTACT else None)
        if own is not None and own not in ALSO_SET:
            mend = "Write `add_tags` and `remove_tags`." if own == "tags" else "Choose another name."
            findings.hole(place, f"`{name}` is kept by Estafette itself and can't be set by a campaign", mend)
        elif "." in name:
            what = "an update sets whole properties, not what is nested in one"
            findings.hole(place, what, f"Write e.g. {name.replace('.', '_')}.")
        elif own == "timezone" and value is not None:
            check_zone(str(value), place, findings)
        elif value is not None:
            _fits(name, value, place, context, findings)


def _fits(name: str, value: Scalar, path: Place, context: CheckContext, findings: Findings) -> None:
    """The value is one that the property can take, by the rule by which it will be written."""
    known = context.timezone is not None and is_zone(context.timezone)
    zone_ = zone(context.timezone) if known and context.timezone is not None else zone("UTC")
    if fit({name: value}, context.types, context.stated, zone_).unfit:
        types = {one.casefold(): (one, kind) for one, kind in (*context.types.items(), *context.stated.items())}
        own, kind = types.get(name.casefold(), (name, "text"))
        what = f"the property `{own}` of contacts is a {KIND_WORDS[kind]}, and “{written(value)}” is none"
        findings.hole(path, what, "Write a value of this kind, or set another property.")
