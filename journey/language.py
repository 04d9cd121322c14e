"""How a campaign file is spelled: one model a mapping of the file, key for key, with the words that editors show.

What belongs here: keys, types, defaults, and which keys exclude each other. What does not: what a campaign means
(`campaign`) and whether it can run (`check`). A new kind of entry or step is a new optional key of `EntryFile` or
`StepFile` here, and a new model there.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from journey.reading import NAME, FileModel, SomeTime, example, wrong
from journey.words import END

MOST_DECIMALS = 10


def _not_blank(value: str) -> str:
    if not value.strip():
        raise wrong("this text is blank", "Write something, or remove the line.")
    return value


def _step_name(name: str) -> str:
    if name == END:
        raise wrong(f"`{END}` is the word for leaving the campaign; no step may bear it", "Give the step another name.")
    if not NAME.fullmatch(name):
        what = f"“{name}” cannot name a step"
        raise wrong(what, "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _.")
    return name


def _placeholder_names(value: object) -> object:
    """Positional placeholders may be written as numbers: `1:` is `"1":`."""
    if not isinstance(value, dict):
        return value
    named = {str(key): one for key, one in value.items()}
    if len(named) < len(value):
        twice = next(str(key) for key in value if isinstance(key, int) and str(key) in value)
        raise wrong(f"`{twice}` is written twice, once as a number and once as text", "Keep one of the two.")
    return named


def _format(value: object) -> object:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= MOST_DECIMALS:
            raise wrong(f"a number with {value} decimals", f"Write how many decimals, from 0 to {MOST_DECIMALS}.")
        return value
    if isinstance(value, str) and "%" in value:
        return value
    raise wrong("a format is a number of decimals or a date pattern", 'Write e.g. 2, or "%d/%m à %H:%M".')


def _spelling(value: object) -> str:
    return "<mapping>" if isinstance(value, dict | FileModel) else "<text>"


Name = Annotated[str, AfterValidator(_not_blank)]
StepName = Annotated[str, AfterValidator(_step_name)]


def one_of(model: FileModel, keys: tuple[str, ...], what: str, example: str) -> None:
    """Raises where not exactly one of `keys` is set."""
    found = [key for key in keys if getattr(model, key) is not None]
    if len(found) > 1:
        listed = " and ".join(f"`{key}`" for key in found)
        raise wrong(f"{what} has {listed}; it can have only one of them", "Keep one of them.")
    if not found:
        listed = ", ".join(f"`{key}`" for key in keys)
        raise wrong(f"{what} has none of {listed}", f"Write one, e.g. {example}.")


class VariableFile(FileModel):
    """Where a value comes from (exactly one of user, event, text) and how it is written."""

    model_config = example({"user": "first_name", "fallback": "cher client"}, {"text": "20 %"})

    user: Name | None = Field(None, description="A property of the contact; also contact_id, phone, locale.")
    event: Name | None = Field(None, description="A property of what brought the contact in, e.g. a segment's column.")
    text: Name | None = Field(None, description="A constant.")
    case: Literal["CapitalizeFirst", "CapitalizeAllFirst", "UPPERCASE", "lowercase", "regular"] = Field(
        "regular", description="Upper and lower case: of the first word, of every word, of the whole text."
    )
    format: Annotated[int | str, BeforeValidator(_format)] | None = Field(
        None, description='A number of decimals (2) or a date pattern ("%d/%m à %H:%M").'
    )
    timezone: Name | None = Field(None, description="The zone in which a time is written, e.g. Europe/Paris.")
    fallback: Name | None = Field(None, description="Used as written where the value is missing or blank.")

    @model_validator(mode="after")
    def _one_source(self) -> "VariableFile":
        one_of(self, ("user", "event", "text"), "a variable", "{user: first_name}")
        return self


TextOrVariable = Annotated[
    Annotated[Name, Tag("<text>")] | Annotated[VariableFile, Tag("<mapping>")], Discriminator(_spelling)
]
Variables = Annotated[dict[str, VariableFile], BeforeValidator(_placeholder_names)]


class DocumentFile(FileModel):
    """A document and the name under which the contact sees it."""

    url: TextOrVariable = Field(description="The document's public address.")
    filename: TextOrVariable | None = Field(None, description="The name under which the contact sees it.")


def _document_spelling(value: object) -> str:
    if isinstance(value, DocumentFile) or (isinstance(value, dict) and ("url" in value or "filename" in value)):
        return "<document>"
    return _spelling(value)


class HeaderFile(FileModel):
    """What fills the template's header: a public address, or the header's text; a constant or a variable."""

    model_config = example({"image": "https://example.com/banner.jpg"})

    image: TextOrVariable | None = Field(None, description="The public address of a JPEG or PNG.")
    video: TextOrVariable | None = Field(None, description="The public address of an MP4 or 3GP.")
    document: (
        Annotated[
            Annotated[Name, Tag("<text>")]
            | Annotated[VariableFile, Tag("<mapping>")]
            | Annotated[DocumentFile, Tag("<document>")],
            Discriminator(_document_spelling),
        ]
        | None
    ) = Field(None, description="The public address of a document, or {url, filename}.")
    text: TextOrVariable | None = Field(None, description="What fills the placeholder of a text header.")

    @model_validator(mode="after")
    def _one_kind(self) -> "HeaderFile":
        one_of(self, ("image", "video", "document", "text"), "a header", "{image: https://example.com/a.jpg}")
        return self


class LanguageFile(FileModel):
    """The language in which each contact reads."""

    user: Name = Field(description="The contact's property that holds a language, usually locale.")
    fallback: Name | None = Field(None, description="The language for contacts whose own is missing or not approved.")


class MessageFile(FileModel):
    """A message from a template that Meta has approved."""

    model_config = example({"template": "welcome", "language": "fr"})

    template: Name = Field(description="The template's name in WhatsApp Manager.")
    language: Annotated[
        Annotated[Name, Tag("<text>")] | Annotated[LanguageFile, Tag("<mapping>")], Discriminator(_spelling)
    ] = Field(description="The template's language (fr, en_US), or {user: locale, fallback: fr}.")
    header: HeaderFile | None = Field(None, description="What fills the template's header.")
    variables: Variables = Field({}, description="What fills the body's placeholders, by their names or numbers.")
    buttons: dict[str | int, VariableFile] = Field(
        {}, description="What fills the placeholder in a button's URL, by the button's label or position from 0."
    )
    expires: SomeTime = Field("24h", validate_default=True, description="How long a held message may wait.")


class OnReadFile(FileModel):
    """Waits for the message to be read; a reader moves at once, the others at the deadline."""

    model_config = example({"within": "2d", "read": "thanks", "not_read": "reminder"})

    within: SomeTime = Field(description="How long to wait after Meta accepted the message, at most 7d.")
    read: Name = Field(description="The step for those who read it in time, or end.")
    not_read: Name = Field(description="The step for the others, or end.")
    undelivered: Name | None = Field(None, description="The step for those it never reached; default: as not_read.")
    full_wait: bool = Field(False, description="true: those who read it move at the deadline too.")


class StepFile(FileModel):
    """One step. What follows: `next`, or `on_read`; none means end."""

    message: MessageFile | None = Field(None, description="Sends a message.")
    next: Name | None = Field(None, description="The step that follows at once, or end.")
    on_read: OnReadFile | None = Field(None, description="What follows depends on whether the message was read.")
    on_skip: (
        Annotated[
            Annotated[Name, Tag("<text>")] | Annotated[dict[str, Name], Tag("<mapping>")], Discriminator(_spelling)
        ]
        | None
    ) = Field(None, description="The step for those whose message was skipped: one for all, or by reason, with else.")
    on_failure: Name = Field("end", description="The step for those whose message Meta refused or failed, or end.")

    @model_validator(mode="after")
    def _one_deed_and_one_way_on(self) -> "StepFile":
        one_of(self, ("message",), "a step", "message: {template: welcome, language: fr}")
        if self.next is not None and self.on_read is not None:
            raise wrong("a step has `next` and `on_read`; it can have only one of them", "Keep one of the two.")
        return self


class WhenFile(FileModel):
    """When the segment enters: exactly one of at and cron."""

    model_config = example({"cron": "0 10 * * MON"}, {"at": "2026-12-01 10:00"})

    at: Name | None = Field(None, description="Once, at a date and time: 2026-12-01 10:00.")
    cron: Name | None = Field(None, description='Again and again: minute hour day month weekday, e.g. "0 10 * * MON".')
    timezone: Name | None = Field(
        None, description="Of at and cron: an IANA zone, or contact for each one's own. Default: the settings'."
    )
    fallback: Name | None = Field(None, description="The zone of contacts without one. Default: the settings'.")
    if_past: Literal["skip", "now", "next_day"] = Field(
        "skip", description="For contacts where the time is over already."
    )
    late: SomeTime = Field("2h", validate_default=True, description="How late a contact may still enter.")
    not_after: Name | None = Field(None, description="No one enters after this: 2026-12-01 18:00.")

    @model_validator(mode="after")
    def _one_schedule(self) -> "WhenFile":
        one_of(self, ("at", "cron"), "`when`", 'cron: "0 10 * * MON"')
        return self


class AudienceFile(FileModel):
    """Enters everyone whom a segment names."""

    model_config = example({"segment": "loyal"})

    segment: Name = Field(description="A file of segments/, without its ending.")
    when: WhenFile | None = Field(None, description="When to enter them; without it, by `estafette run` only.")


class EntryFile(FileModel):
    """One way into the campaign."""

    model_config = example({"audience": {"segment": "loyal"}})

    audience: AudienceFile | None = Field(None, description="Enters everyone whom a segment names.")

    @model_validator(mode="after")
    def _one_kind(self) -> "EntryFile":
        one_of(self, ("audience",), "an entry", "audience: {segment: loyal}")
        return self


class ReEntryFile(FileModel):
    """At most so many passages within a rolling time."""

    model_config = example({"times": 1, "per": "30d"})

    times: int = Field(ge=1, description="How many passages.")
    per: SomeTime = Field(description="Within what time, counted from entering.")


class WhenUnknownFile(FileModel):
    """What to do when nobody can say whether a message went out (a broken connection, a crash)."""

    after: SomeTime = Field("24h", validate_default=True, description="How long to wait for a status that settles it.")
    then: Literal["assume_sent", "resend", "fail"] = Field("assume_sent", description="What to take it for then.")


class SettingsFile(FileModel):
    """How the campaign behaves."""

    re_entry: (
        Annotated[
            Annotated[Literal["once", "always"], Tag("<text>")] | Annotated[ReEntryFile, Tag("<mapping>")],
            Discriminator(_spelling),
        ]
        | None
    ) = Field(None, description="How often a contact may pass: once, always, or {times: 1, per: 30d}.")
    when_unknown: WhenUnknownFile = Field(
        WhenUnknownFile(), description="What to do when nobody can say whether a message went out."
    )


_STEP_NAMES: dict[str, Any] = {"propertyNames": {"pattern": f"^(?!end$){NAME.pattern}$"}}


class CampaignFile(FileModel):
    """A campaign: who comes in, and what happens to them."""

    name: Name = Field(description="The file's name without .yaml.")
    description: str = Field("", description="What the campaign is for.")
    sender: Name = Field(description="One of the senders of estafette.yaml.")
    draft: bool = Field(False, description="A draft enters no one.")
    entries: list[EntryFile] = Field(min_length=1, description="How contacts come in.")
    variables: Variables = Field({}, description="Variables that all messages share.")
    settings: SettingsFile = Field(SettingsFile(), description="How the campaign behaves.")
    steps: dict[StepName, StepFile] = Field(
        min_length=1,
        description="The steps by name; the first is where everyone starts.",
        json_schema_extra=_STEP_NAMES,
    )
