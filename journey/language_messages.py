"""How a campaign file spells messages.

What belongs here: templates with what fills them, and free text. What they become is `steps`.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from journey.language_basics import Name, one_of, spelling
from journey.language_rules import CapOrIgnore
from journey.language_variables import NumberOrVariable, TextOrVariable, VariableFile, Variables, variable, variables
from journey.reading import FileModel, SomeTime, example, wrong
from journey.spelling import nearest
from journey.steps import (
    Coupons,
    Header,
    LanguageByContact,
    Link,
    Location,
    TemplateMessage,
    TextMessage,
)

_HEADERS = ("image", "video", "document", "location", "text")
EXPIRES: Any = "24h"  # as a file writes it; pydantic reads it


class DocumentFile(FileModel):
    """A document and the name under which the contact sees it."""

    model_config = example({"url": "https://example.com/invoice.pdf", "filename": "Facture.pdf"})

    url: TextOrVariable = Field(description="The document's public address.")
    filename: TextOrVariable | None = Field(None, description="The name under which the contact sees it.")


def _document_spelling(value: object) -> str:
    if isinstance(value, DocumentFile) or (isinstance(value, dict) and ("url" in value or "filename" in value)):
        return "<document>"
    return spelling(value)


class LocationFile(FileModel):
    """A place on the map; each part a constant or a variable."""

    model_config = example({"latitude": 48.8566, "longitude": 2.3522, "name": "Boutique", "address": "1 rue X, Paris"})

    latitude: NumberOrVariable = Field(description="In decimal degrees, north is positive: 48.8566.")
    longitude: NumberOrVariable = Field(description="In decimal degrees, east is positive: 2.3522.")
    name: TextOrVariable = Field(description="The place's name, in bold above the address.")
    address: TextOrVariable = Field(description="The place's address.")


class HeaderFile(FileModel):
    """What fills the template's header: a public address, a place, or the header's text; a constant or a variable."""

    model_config = example({"image": "https://example.com/banner.jpg"}, one_of=_HEADERS)

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
    location: LocationFile | None = Field(None, description="A place: {latitude, longitude, name, address}.")
    text: TextOrVariable | None = Field(None, description="What fills the placeholder of a text header.")

    @model_validator(mode="after")
    def _one_kind(self) -> "HeaderFile":
        one_of(self, _HEADERS, "a header", "{image: https://example.com/a.jpg}")
        return self

    def header(self) -> Header:
        """What the house knows it as."""
        if isinstance(self.document, DocumentFile):
            filename = variable(self.document.filename) if self.document.filename is not None else None
            return Header(kind="document", value=variable(self.document.url), filename=filename)
        if self.location is not None:
            place = {key: variable(one) for key, one in self.location}
            return Header(kind="location", location=Location(**place))
        kinds: tuple[Literal["image", "video", "document", "text"], ...] = ("image", "video", "document", "text")
        for kind in kinds:
            value = getattr(self, kind)
            if value is not None:
                return Header(kind=kind, value=variable(value))
        raise AssertionError("no header without a kind comes through")


class LanguageFile(FileModel):
    """The language in which each contact reads."""

    model_config = example({"user": "locale", "fallback": "fr"})

    user: Name = Field(description="The contact's property that holds a language, usually locale.")
    fallback: Name | None = Field(None, description="The language for contacts whose own is missing or not approved.")


class LinkFile(FileModel):
    """A counted link: whoever taps the button is led to this address, and the tap is counted."""

    model_config = example(
        {"link": "https://shop.example.com/p/{product_id}", "variables": {"product_id": {"user": "product_id"}}}
    )

    link: Name = Field(description="Where the tap leads; {name} stands for a variable.")
    variables: Variables = Field({}, description="What fills the address, beside the campaign's own variables.")


def _button_spelling(value: object) -> str:
    is_link = isinstance(value, LinkFile) or (isinstance(value, dict) and nearest("link", map(str, value)) is not None)
    return "<link>" if is_link else "<mapping>"


Button = Annotated[
    Annotated[VariableFile, Tag("<mapping>")] | Annotated[LinkFile, Tag("<link>")], Discriminator(_button_spelling)
]


class CouponsFile(FileModel):
    """A code from a list, one a message: it fills {{voucher}} and the copy-code button."""

    model_config = example({"pool": "autumn", "tag": "autumn_coupon"})

    pool: Name = Field(description="A list of codes: the name of its file in landing/coupons/, without .csv.")
    tag: Name | None = Field(None, description="A tag for everyone whose message Meta accepted.")


class TemplateFile(FileModel):
    """A message from a template that Meta has approved."""

    model_config = example({"template": "welcome", "language": "fr"})

    template: Name = Field(description="The template's name in WhatsApp Manager.")
    language: Annotated[
        Annotated[Name, Tag("<text>")] | Annotated[LanguageFile, Tag("<mapping>")], Discriminator(spelling)
    ] = Field(description="The template's language (fr, en_US), or {user: locale, fallback: fr}.")
    header: HeaderFile | None = Field(None, description="What fills the template's header.")
    variables: Variables = Field({}, description="What fills the body's placeholders, by their names or numbers.")
    buttons: dict[str | int, Button] = Field(
        {},
        description="What fills the placeholder in a button's URL, by the button's label or position from 0: a"
        " variable, or {link: https://…} to count the taps.",
    )
    coupons: CouponsFile | None = Field(None, description="A code for {{voucher}} and the copy-code button.")
    expires: SomeTime = Field(EXPIRES, validate_default=True, description="How long a held message may wait.")
    frequency_cap: CapOrIgnore | None = Field(
        None, description="Instead of the campaign's: {messages: 2, per: 7d}, or ignore."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: object) -> object:
        if isinstance(value, dict):
            if "template" in value and "text" in value:
                what = "a message has `template` and `text`; it can have only one of them"
                raise wrong(what, "Keep one of the two.")
            if nearest("template", map(str, value)) is None:
                mend = "Write one, e.g. {template: welcome, language: fr}, or {text: Bonjour}."
                raise wrong("a message has none of `template`, `text`", mend)
        return value

    def message(self) -> TemplateMessage:
        """What the house knows it as."""
        language: str | LanguageByContact
        if isinstance(self.language, LanguageFile):
            language = LanguageByContact(user=self.language.user, fallback=self.language.fallback)
        else:
            language = self.language
        return TemplateMessage(
            template=self.template,
            language=language,
            header=self.header.header() if self.header is not None else None,
            variables=variables(self.variables),
            buttons={key: _button(one) for key, one in self.buttons.items()},
            coupons=Coupons(pool=self.coupons.pool, tag=self.coupons.tag) if self.coupons is not None else None,
            expires=self.expires,
            frequency_cap=self.frequency_cap,
        )


class TextFile(FileModel):
    """Free text; it goes only to people who wrote within the last 24 hours."""

    model_config = example({"text": "Bonjour {first_name} !"})

    text: Name = Field(description="The text; {name} stands for a variable, {{ and }} for braces.")
    variables: Variables = Field({}, description="What fills the text, beside the campaign's own variables.")
    expires: SomeTime = Field(EXPIRES, validate_default=True, description="How long a held message may wait.")

    def message(self) -> TextMessage:
        """What the house knows it as."""
        return TextMessage(text=self.text, variables=variables(self.variables), expires=self.expires)


def _message_spelling(value: object) -> str:
    if isinstance(value, TextFile):
        return "<free text>"
    if isinstance(value, dict) and "template" not in value and nearest("text", map(str, value)) is not None:
        return "<free text>"
    return "<template>"


Message = Annotated[
    Annotated[TemplateFile, Tag("<template>")] | Annotated[TextFile, Tag("<free text>")],
    Discriminator(_message_spelling),
]


def _button(read: VariableFile | LinkFile) -> Any:
    return Link(url=read.link, variables=variables(read.variables)) if isinstance(read, LinkFile) else read.variable()
