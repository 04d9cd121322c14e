"""A campaign as the rest of the house knows it, and the way from a file's text to it.

What belongs here: the models, whole and without a word of YAML in them, and `load_campaign`. How a file spells them is
`language`; whether a campaign can run is `check`.
"""

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

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
from journey.variables import Variable
from journey.words import END, Branch, Case

ELSE = "else"  # the key of on_skip that takes every other reason


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Model):
    """A schedule: exactly one of `at` (once) and `cron` (again and again), as written; `check` has read both.

    `timezone` is an IANA name, `contact` (each contact's own), or None (the settings'). `fallback` is the zone of
    contacts without one. Times without a zone in `at` and `not_after` are in `timezone`.
    """

    at: str | None = None
    cron: str | None = None
    timezone: str | None = None
    fallback: str | None = None
    if_past: Literal["skip", "now", "next_day"] = "skip"
    late: timedelta = timedelta(hours=2)
    not_after: str | None = None


class AudienceEntry(_Model):
    """Enters everyone whom a segment names; without `when` only by `estafette run`."""

    kind: Literal["audience"] = "audience"
    segment: str
    when: When | None = None


class ReEntry(_Model):
    """At most `times` passages within any `per`, counted from entering."""

    times: int
    per: timedelta


class WhenUnknown(_Model):
    """What a message that may or may not have gone out is taken for, and after how long."""

    after: timedelta = timedelta(hours=24)
    then: Literal["assume_sent", "resend", "fail"] = "assume_sent"


class CampaignSettings(_Model):
    """`re_entry` is None where nothing is written: each entry then has its own default (`entry.re_entry_rule`)."""

    re_entry: Literal["once", "always"] | ReEntry | None = None
    when_unknown: WhenUnknown = WhenUnknown()


class LanguageByContact(_Model):
    """The language is the contact's property `user`; `fallback` where that is missing or not approved."""

    user: str
    fallback: str | None = None


class Header(_Model):
    """What fills the template's header. `filename` is for documents only."""

    kind: Literal["image", "video", "document", "text"]
    value: Variable
    filename: Variable | None = None


class TemplateMessage(_Model):
    """A message from a template. `variables` by placeholder; `buttons` by label (text) or position from 0 (int)."""

    template: str
    language: str | LanguageByContact
    header: Header | None = None
    variables: dict[str, Variable] = {}
    buttons: dict[str | int, Variable] = {}
    expires: timedelta = timedelta(hours=24)


class OnRead(_Model):
    """Waits up to `within` for a read. `undelivered` None: those go where `not_read` goes.

    With `full_wait` those who read it move at the deadline too.
    """

    within: timedelta
    read: str
    not_read: str
    undelivered: str | None = None
    full_wait: bool = False


class MessageStep(_Model):
    """Sends a message. `next` or `on_read` says what follows; neither means `end`. `on_skip` always has `else`."""

    kind: Literal["message"] = "message"
    message: TemplateMessage
    next: str | None = None
    on_read: OnRead | None = None
    on_skip: dict[str, str] = {ELSE: END}
    on_failure: str = END

    def ways(self) -> Iterator[tuple[tuple[str, ...], Branch, str, bool]]:
        """Every way out: (its key in the step, branch, target, whether anything is waited for on it)."""
        if self.on_read is not None:
            yield ("on_read", "read"), Branch.read, self.on_read.read, True
            yield ("on_read", "not_read"), Branch.not_read, self.on_read.not_read, True
            if self.on_read.undelivered is not None:
                yield ("on_read", "undelivered"), Branch.undelivered, self.on_read.undelivered, True
        else:
            yield ("next",), Branch.next, self.next or END, False
        for reason, target in self.on_skip.items():
            yield ("on_skip", reason), Branch.on_skip, target, False
        yield ("on_failure",), Branch.on_failure, self.on_failure, False


class Campaign(_Model):
    """One campaign file. `version` is 12 hex digits of the file's SHA-256; `file` its path within the project home.

    `steps` keeps the file's order: the first is where everyone starts.
    """

    name: str
    description: str = ""
    sender: str
    draft: bool = False
    entries: tuple[AudienceEntry, ...]
    variables: dict[str, Variable] = {}
    settings: CampaignSettings = CampaignSettings()
    steps: dict[str, MessageStep]
    version: str
    file: str

    @property
    def first_step(self) -> str:
        """Where everyone starts."""
        return next(iter(self.steps))


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
