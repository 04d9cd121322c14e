"""The places of a body that differ from person to person, each brought to its text as one column.

What belongs here: `Slot`, from a filling and a frame of people to escaped text, and which slots a message has. How
values become text is `formats`, `dates` and `text`; how the texts become bodies is `render`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from journey.braces import names_in
from journey.dates import Zones
from journey.formats import written
from journey.marks import CODE_LENGTH, VOUCHER, VOUCHER_IN_URL, link_mark
from journey.message_spec import CountedLink, Filling, MessageSpec, TextSpec
from journey.text import by_distinct, json_escaped, percent_encoded, settled
from journey.variables import Variable

OWN_COLUMNS = ("contact_id", "phone", "locale")  # what a `user` variable may name beside the contact's properties
COORDINATES = {"latitude": 90, "longitude": 180}  # and the most that each may be

#: `text` of a template, `free` text, the placeholder of a `url`, the address of `media`, and a `place` on a map.
Kind = Literal["text", "free", "url", "media", "place"]

_SPARE_LANGUAGE = "en"  # coordinates have a point in every language


@dataclass
class Slot:
    """One place, and once filled its text as an expression (a column, or a constant)."""

    mark: str
    what: str
    filling: Filling | str  # a text stands as it is
    kind: Kind = "text"
    columns: list[pl.Series] = field(default_factory=list)
    text: pl.Expr = field(default_factory=lambda: pl.lit(None, pl.String))  # escaped; null where there is none
    length: pl.Expr = field(default_factory=lambda: pl.lit(0))
    longest: int = 0

    @property
    def words(self) -> str:
        """The slot in a skip's detail."""
        if not isinstance(self.filling, Variable):
            return self.what
        name = self.filling.name
        source = {"user": f"user property {name}", "event": f"event property {name}", "text": "constant text"}
        return f"{self.what} ({source[self.filling.source]})"

    @property
    def lacks(self) -> str:
        """What is wrong where it has no text, in a skip's detail."""
        formatted = isinstance(self.filling, Variable) and self.filling.format is not None
        empty = "empty or cannot be read by its format" if formatted else "empty"
        return f"{self.words} is {empty} and has no fallback"

    def fill(self, people: pl.DataFrame, language: str, zones: pl.Series | None, default_zone: str) -> "Slot":
        """Bring it to its text. Raises ValueError where a column is missing, or a format or zone cannot be used."""
        variable = self.filling
        if not isinstance(variable, Variable):
            mark = VOUCHER_IN_URL if self.kind == "url" else VOUCHER
            self.text = pl.lit(variable if isinstance(variable, str) else mark, pl.String)
            self.length, self.longest = pl.lit(CODE_LENGTH, pl.UInt32), CODE_LENGTH
            return self
        values = _values(variable, people)
        constant = variable.source == "text"
        dated = isinstance(variable.format, str)
        if constant and dated and zones is not None:  # a constant time may still be shown in each contact's zone
            constant, values = False, values.new_from_index(0, len(zones))
        in_zones = Zones(variable.timezone, zones, default_zone) if dated else Zones()
        if self.mark in COORDINATES:
            language = _SPARE_LANGUAGE
        filled = by_distinct(written(values, variable.format, language, in_zones), self._settle)
        self.longest = _most(filled["length"])
        if constant:
            self.text = pl.lit(filled["text"].item(), pl.String)
            self.length = pl.lit(filled["length"].item(), pl.UInt32)
        else:
            self.columns = [filled["text"].alias(self.mark), filled["length"].alias(f"{self.mark}_length")]
            self.text, self.length = pl.col(self.mark), pl.col(f"{self.mark}_length")
        return self

    def _settle(self, texts: pl.Series) -> pl.DataFrame:
        assert isinstance(self.filling, Variable)
        text = pl.col("text")
        frame = texts.alias("text").to_frame()
        result = settled(text, self.filling.case, self.filling.fallback, single=self.kind != "free")
        frame = frame.select(result.alias("text"))
        if self.kind == "media" or self.mark in COORDINATES:
            frame = frame.select(text.str.strip_chars())
        if self.kind in ("media", "url"):
            frame = percent_encoded(frame["text"]).to_frame()
        return frame.select(json_escaped(text), text.str.len_chars().alias("length"))


def slots_of(spec: MessageSpec | TextSpec) -> Iterator[Slot]:
    """The slots of a message, each with its mark."""
    if isinstance(spec, TextSpec):
        for place, (name, variable) in enumerate(spec.variables.items()):
            yield Slot(f"text{place}", f"variable {name}", variable, "free")
        return
    if spec.header is not None:
        yield Slot("header", f"header {spec.header_kind}", spec.header, "media" if spec.media else "text")
    if spec.filename is not None:
        yield Slot("filename", "the document's file name", spec.filename)
    if spec.location is not None:
        for name, variable in spec.location:
            yield Slot(name, f"the location's {name}", variable, "place")
    for place, name in enumerate(spec.body_order()):
        yield Slot(f"body{place}", f"variable {name}", spec.body[name])
    for index, filling in spec.buttons.items():
        button = spec.template.buttons[index]
        if isinstance(filling, CountedLink):
            yield Slot(f"button{index}", f"the URL of button {button.text}", link_mark(index), "url")
            for mark, name in link_places(index, filling).items():
                what = f"variable {name} in the link of button {button.text}"
                yield Slot(mark, what, filling.variables[name], "url")
        elif button.type == "URL":
            yield Slot(f"button{index}", f"the URL of button {button.text}", filling, "url")
        else:
            yield Slot(f"button{index}", f"the code of button {button.text or index}", filling)


def link_places(index: int, link: CountedLink) -> dict[str, str]:
    """The marks of a counted link's own places, each with the name of its placeholder."""
    return {f"link{index}_{place}": name for place, name in enumerate(names_in(link.url))}


def _values(variable: Variable, people: pl.DataFrame) -> pl.Series:
    if variable.source == "text":
        return pl.Series([variable.name], dtype=pl.String)
    column = f"{variable.source}.{variable.name}"
    own = variable.source == "user" and variable.name in OWN_COLUMNS
    for name in (column, variable.name) if own else (column,):
        if name in people.columns:
            return people[name]
    raise ValueError(f"the frame of people has no column {column}")


def _most(lengths: pl.Series) -> int:
    most = lengths.max()
    return most if isinstance(most, int) else 0
