"""The way from a campaign file's text to a `Campaign`.

What belongs here: reading the file's models (`language`) and turning them into those of `campaign` and `steps`. Whether
the campaign can run is `check`.
"""

from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

from journey.campaign import AudienceEntry, Campaign, CampaignSettings, ReEntry, When, WhenUnknown
from journey.language import (
    AudienceFile,
    CampaignFile,
    DocumentFile,
    HeaderFile,
    LanguageFile,
    MessageFile,
    ReEntryFile,
    StepFile,
    VariableFile,
)
from journey.problems import Problem
from journey.reading import NAME, read_model
from journey.source import Source, parse_source
from journey.steps import ELSE, Header, LanguageByContact, MessageStep, OnRead, TemplateMessage
from journey.variables import Variable
from journey.words import END, Case


def load_campaign(text: str, file: str) -> tuple[Campaign | None, list[Problem]]:
    """Reads a campaign file. `file` is its path within the project home, `campaigns/NAME.yaml`.

    Returns the campaign, or None where its shape cannot be understood; and every finding. A campaign that comes with
    findings is good for further checking, and not for running.
    """
    campaign, _, problems = read_campaign(text, file)
    return campaign, problems


def read_campaign(text: str, file: str) -> tuple[Campaign | None, Source | None, list[Problem]]:
    """`load_campaign`, with the source that knows the lines (`check` wants it). The source is None where YAML fails."""
    source, problems = parse_source(text, file)
    if source is None:
        return None, None, problems
    read, problems = read_model(source, CampaignFile)
    if read is None:
        return None, source, problems
    stem = PurePosixPath(file).stem
    if not NAME.fullmatch(stem):
        what = f"the file's name “{stem}” cannot name a campaign"
        mend = "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _."
        problems.append(Problem(file, source.line(("name",)), "name", what, mend))
    elif read.name != stem:
        what = f"the name is “{read.name}” and the file is “{PurePosixPath(file).name}”"
        problems.append(Problem(file, source.line(("name",)), "name", what, f"Write `name: {stem}`, or rename it."))
    version = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return _campaign(read, version, file), source, problems


def _campaign(read: CampaignFile, version: str, file: str) -> Campaign:
    settings, unknown = read.settings, read.settings.when_unknown
    re_entry = settings.re_entry
    return Campaign(
        name=read.name,
        description=read.description,
        sender=read.sender,
        draft=read.draft,
        entries=tuple(_audience(entry.audience) for entry in read.entries if entry.audience is not None),
        variables={name: _variable(one) for name, one in read.variables.items()},
        settings=CampaignSettings(
            re_entry=ReEntry(times=re_entry.times, per=re_entry.per) if isinstance(re_entry, ReEntryFile) else re_entry,
            when_unknown=WhenUnknown(after=unknown.after, then=unknown.then),
        ),
        steps={name: _step(step, step.message) for name, step in read.steps.items() if step.message is not None},
        version=version,
        file=file,
    )


def _audience(read: AudienceFile) -> AudienceEntry:
    return AudienceEntry(segment=read.segment, when=When(**dict(read.when)) if read.when is not None else None)


def _step(read: StepFile, message: MessageFile) -> MessageStep:
    on_skip = read.on_skip if isinstance(read.on_skip, dict) else {ELSE: read.on_skip or END}
    return MessageStep(
        message=TemplateMessage(
            template=message.template,
            language=_language(message.language),
            header=_header(message.header) if message.header is not None else None,
            variables={name: _variable(one) for name, one in message.variables.items()},
            buttons={key: _variable(one) for key, one in message.buttons.items()},
            expires=message.expires,
        ),
        next=read.next,
        on_read=OnRead(**dict(read.on_read)) if read.on_read is not None else None,
        on_skip={**on_skip, ELSE: on_skip.get(ELSE, END)},
        on_failure=read.on_failure,
    )


def _language(read: str | LanguageFile) -> str | LanguageByContact:
    return read if isinstance(read, str) else LanguageByContact(user=read.user, fallback=read.fallback)


def _header(read: HeaderFile) -> Header:
    if isinstance(read.document, DocumentFile):
        filename = _value(read.document.filename) if read.document.filename is not None else None
        return Header(kind="document", value=_value(read.document.url), filename=filename)
    kinds: tuple[Literal["image", "video", "document", "text"], ...] = ("image", "video", "document", "text")
    for kind in kinds:
        value = getattr(read, kind)
        if value is not None:
            return Header(kind=kind, value=_value(value))
    raise AssertionError("the file's model lets no header without a kind through")


def _value(read: str | VariableFile) -> Variable:
    return Variable("text", read) if isinstance(read, str) else _variable(read)


def _variable(read: VariableFile) -> Variable:
    rest = {"case": Case(read.case), "format": read.format, "timezone": read.timezone, "fallback": read.fallback}
    if read.user is not None:
        return Variable("user", read.user, **rest)  # type: ignore[arg-type]
    if read.event is not None:
        return Variable("event", read.event, **rest)  # type: ignore[arg-type]
    return Variable("text", read.text or "", **rest)  # type: ignore[arg-type]
