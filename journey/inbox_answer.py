"""What a person answers in the inbox: how a request line spells it, and the message that it becomes.

What belongs here: the model and its limits. Whether it may go out is decided when it is planned.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from journey.blank import is_blank
from journey.braces import escape
from journey.steps import Header, Location, Model, TemplateMessage, TextMessage
from journey.variables import Variable

LONGEST_TEXT = 4_096
"""Characters of a free text (Meta's limit)."""
LONGEST_AUTHOR = 200
MEDIA = ("image", "video", "document")


class AnswerPlace(Model):
    """What fills a location header."""

    latitude: str
    longitude: str
    name: str
    address: str


class AnswerHeader(Model):
    """What fills a template's header: exactly one of its kinds; `filename` is for documents only."""

    text: str | None = None
    image: str | None = None
    video: str | None = None
    document: str | None = None
    filename: str | None = None
    location: AnswerPlace | None = None

    @model_validator(mode="after")
    def _one(self) -> "AnswerHeader":
        if sum(one is not None for one in (self.text, self.image, self.video, self.document, self.location)) != 1:
            raise ValueError("one of text, image, video, document and location is wanted")
        return self

    def filled(self) -> Header:
        """As a message has it."""
        if self.location is not None:
            place = {name: _constant(value) for name, value in self.location.model_dump().items()}
            return Header(kind="location", location=Location(**place))
        if self.text is not None:
            return Header(kind="text", value=_constant(self.text))
        kind: Literal["image", "video", "document"]
        for kind in ("image", "video", "document"):
            address: str | None = getattr(self, kind)
            if address is not None:
                filename = _constant(self.filename) if self.filename is not None and kind == "document" else None
                return Header(kind=kind, value=_constant(address), filename=filename)
        raise AssertionError("a header has one kind")


class InboxAnswer(Model):
    """An answer to `contact_id` from `sender`, by `author`: a free `text`, or a `template` in a `language` with what
    fills it, all constants: `variables` by placeholder, `buttons` by position from 0."""

    contact_id: str
    sender: str
    author: str
    text: str | None = None
    template: str | None = None
    language: str | None = None
    header: AnswerHeader | None = None
    variables: Mapping[str, str] = {}
    buttons: Mapping[int, str] = {}

    @model_validator(mode="after")
    def _whole(self) -> "InboxAnswer":
        for name in ("contact_id", "sender", "author"):
            if is_blank(getattr(self, name)):
                raise ValueError(f"there is no {name}")
        if len(self.author) > LONGEST_AUTHOR:
            raise ValueError(f"author is longer than {LONGEST_AUTHOR} characters")
        if (self.text is None) == (self.template is None):
            raise ValueError("one of `text` and `template` is wanted")
        if self.text is not None:
            if is_blank(self.text):
                raise ValueError("the text is blank")
            if len(self.text) > LONGEST_TEXT:
                raise ValueError(f"the text is longer than {LONGEST_TEXT:,} characters")
            if self.language is not None or self.header is not None or self.variables or self.buttons:
                raise ValueError("a text takes no `language`, `header`, `variables` or `buttons`")
        elif not self.language:
            raise ValueError("a template wants its `language`")
        return self

    def message(self) -> TextMessage | TemplateMessage:
        """The message that it becomes."""
        if self.text is not None:
            return TextMessage(text=escape(self.text))
        assert self.template is not None and self.language is not None
        return TemplateMessage(
            template=self.template,
            language=self.language,
            header=self.header.filled() if self.header is not None else None,
            variables={name: _constant(value) for name, value in self.variables.items()},
            buttons={place: _constant(value) for place, value in self.buttons.items()},
            frequency_cap="ignore",
        )

    def content(self) -> str:
        """All but who says it to whom, as JSON."""
        return self.model_dump_json(exclude={"contact_id", "sender", "author"}, exclude_defaults=True)


def read_answer(value: Any) -> InboxAnswer:
    """An answer out of the `inbox` of a request line. ValueError: one sentence on what is wrong with it."""
    if not isinstance(value, dict):
        raise ValueError("`inbox` is no JSON object")
    try:
        return InboxAnswer.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("inbox", *first["loc"]))
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def _constant(text: str) -> Variable:
    return Variable("text", text)
