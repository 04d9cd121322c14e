"""A message with everything that fills it, as `render` takes it: from a template, or free text.

What belongs here: the models. The way from a campaign's message to them, and what is refused on it, is `fill`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from journey.steps import Location
from journey.template import MEDIA, Template
from journey.variables import Variable

NeedSource = Literal["user", "event"]

VOUCHER_NAME = "voucher"  # the placeholder that coupons fill


@dataclass(frozen=True, slots=True)
class Voucher:
    """A place that takes the message's coupon code, which is known only at planning (`marks`)."""


@dataclass(frozen=True)
class CountedLink:
    """A counted link: the button takes a code, known only at planning; it leads to `url`, which has {name} places."""

    url: str
    variables: Mapping[str, Variable | Voucher]


Filling = Variable | Voucher


@dataclass(frozen=True)
class MessageSpec:
    """One template in one language, and what fills it.

    `header_kind` is image, video, document, text or location where the header is filled, with `header` (an address, or
    the text of the placeholder) and `filename` (documents only), or with `location`. `body` by placeholder, `buttons`
    by the button's index: the placeholder of a URL, or the code to copy.
    """

    template: Template
    header_kind: str | None = None
    header: Filling | None = None
    filename: Variable | None = None
    body: Mapping[str, Filling] = field(default_factory=dict)
    buttons: Mapping[int, Filling | CountedLink] = field(default_factory=dict)
    location: Location | None = None

    @property
    def language(self) -> str:
        """In which numbers and dates are written."""
        return self.template.language

    @property
    def media(self) -> bool:
        """Whether it has a picture, a video or a document."""
        return self.header_kind is not None and self.header_kind.upper() in MEDIA

    @property
    def takes_voucher(self) -> bool:
        """Whether each message of it takes a coupon code."""
        return any(isinstance(one, Voucher) for one in self.fillings())

    def links(self) -> dict[int, CountedLink]:
        """The counted links, by the button's index."""
        return {index: one for index, one in self.buttons.items() if isinstance(one, CountedLink)}

    def fillings(self) -> Iterator[Filling]:
        """Everything that fills a place."""
        place = self.location
        location = (place.latitude, place.longitude, place.name, place.address) if place is not None else ()
        for one in (self.header, self.filename, *location, *self.body.values(), *self.buttons.values()):
            if isinstance(one, CountedLink):
                yield from one.variables.values()
            elif one is not None:
                yield one

    def body_order(self) -> tuple[str, ...]:
        """The body's placeholders in the order of a request: positional ones by number, named ones as they appear."""
        names = self.template.body_placeholders
        return names if self.template.parameter_format == "NAMED" else tuple(sorted(names, key=_position))


@dataclass(frozen=True)
class TextSpec:
    """Free text with {name} places (`braces`), and what fills them. Numbers and dates are written in `language`."""

    text: str
    variables: Mapping[str, Variable]
    language: str

    def fillings(self) -> Iterator[Filling]:
        """Everything that fills a place."""
        yield from self.variables.values()


def needs(spec: MessageSpec | TextSpec) -> set[tuple[NeedSource, str]]:
    """The properties that the frame of `render` must bring, each as the column `user.NAME` or `event.NAME`."""
    return {(one.source, one.name) for one in spec.fillings() if isinstance(one, Variable) and one.source != "text"}


def _position(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)
