"""Bodies in bulk: Estafette's `render` beside a pydantic model a row.

A template with an image header, five variables in its text and one in a button's URL. A fifth of the names are null;
one in a hundred holds quotes, emoji or a line break. Both ways give the same bodies, which is checked on a part of the
rows before anything is measured. People's values repeat as they do in life (some names, some thousand cities, a hundred
thousand products); in a second table every value is another, which is the worst case for columns.
"""

import json
import sys
from urllib.parse import quote

import polars as pl
from pydantic import BaseModel

from benchmarks.harness import Benchmark, Meter, Way, exponent, program
from journey.render import MessageSpec, render, spec_for
from journey.steps import Header, TemplateMessage
from journey.template import parse_template
from journey.variables import Variable
from journey.words import Case

BANNER = "https://example.com/files/banner.jpg"
TEXT = "Bonjour {{1}}, de {{2}}. {{3}} vous attend : {{4}} points jusqu’au {{5}}."
TEMPLATE = {
    "name": "offer",
    "language": "fr",
    "status": "APPROVED",
    "category": "MARKETING",
    "components": [
        {"type": "HEADER", "format": "IMAGE"},
        {"type": "BODY", "text": TEXT},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Acheter", "url": "https://example.com/p/{{1}}"}]},
    ],
}
MESSAGE = TemplateMessage(
    template="offer",
    language="fr",
    header=Header(kind="image", value=Variable("text", BANNER)),
    variables={
        "1": Variable("user", "first_name", Case.CapitalizeFirst, fallback="cher client"),
        "2": Variable("user", "city", Case.CapitalizeAllFirst, fallback="chez vous"),
        "3": Variable("user", "product", Case.UPPERCASE, fallback="Une surprise"),
        "4": Variable("user", "points"),
        "5": Variable("user", "until"),
    },
    buttons={"Acheter": Variable("user", "product_id", fallback="accueil")},
)
NAMES = ("jean", "élodie", "o'neil", "jean-pierre", "anne marie", "zoë", "PAUL", "luc", None, None)
NASTY = 'dit "le  \\grand"\n🎉'
COMPARED = 20_000


def main() -> int:
    given = program("render", __doc__)
    whole = 200_000 if given.quick else 1_000_000
    part = 50_000 if given.quick else 100_000
    compared = people(COMPARED)
    bodies = render(_spec(), compared).get_column("body")
    assert [json.loads(one) for one in bodies] == [json.loads(one) for one in dumped(compared)], "the two ways differ"
    bench = Benchmark("render", "Bodies from a frame of people", quick=given.quick)
    for distinct, words in ((False, "values that repeat as in life"), (True, "every value another")):
        ways = [
            Way("Estafette", estafette, {"rows": whole, "distinct": distinct}),
            Way("a pydantic model a row", models, {"rows": part, "distinct": distinct}),
        ]
        found = bench.compare(f"{whole:,} bodies, {words}", ways, unit="bodies", repeats=1 if given.quick else 3)
        ratio = found["a pydantic model a row"].cpu_an_item / found["Estafette"].cpu_an_item
        told = f"1/{ratio:.1f}, {found['Estafette'].cpu_an_item * 1e6:.1f} µs a body"
        goal, met = ("", None) if distinct else ("CPU ≤ 1/12 of pydantic's", ratio >= 12)
        bench.goal(f"render, {words}", goal, told, met)
    if not given.quick:
        sizes = (10_000, 100_000, 1_000_000)
        rows = [bench.compare(f"{n:,} bodies", [Way(f"{n:,}", estafette, {"rows": n})], unit="bodies") for n in sizes]
        growth = exponent(sizes, [row.wall_median for found in rows for row in found.values()])
        bench.goal("render, cost as work grows", "", f"exponent {growth:.2f} from {sizes[0]:,} to {sizes[-1]:,}")
    bench.save()
    return 0


def estafette(meter: Meter, rows: int, distinct: bool = False) -> None:
    frame, spec = people(rows, distinct=distinct), _spec()
    with meter(rows):
        bodies = render(spec, frame).get_column("body")
    assert bodies.null_count() == 0


def models(meter: Meter, rows: int, distinct: bool = False) -> None:
    frame = people(rows, distinct=distinct)
    with meter(rows):
        bodies = dumped(frame)
    assert len(bodies) == rows


def people(rows: int, *, distinct: bool = False) -> pl.DataFrame:
    """So many people, always the same."""
    n = pl.int_range(0, rows, eager=True)
    nasty = pl.Series([NASTY if i % 100 == 7 else "" for i in range(rows)])
    frame = pl.DataFrame({"phone": "+336" + n.cast(pl.String).str.zfill(8), "n": n, "nasty": nasty}).with_columns(
        timezone=pl.lit(None, pl.String), draw=pl.col("n").hash(7)
    )
    own = pl.lit(" ") + pl.col("n").cast(pl.String) if distinct else pl.lit("")
    name = pl.col("draw") % len(NAMES)
    return frame.select(
        "phone",
        "timezone",
        pl.concat_str(name.replace_strict(dict(enumerate(NAMES)), return_dtype=pl.String), own, "nasty").alias(
            "user.first_name"
        ),
        pl.concat_str(pl.lit("saint denis "), pl.col("draw") // 16 % 8_000, own).alias("user.city"),
        pl.concat_str(pl.lit("chaussures n°"), pl.col("draw") // 128 % 100_000, own).alias("user.product"),
        (pl.col("n") if distinct else pl.col("draw") % 1_000).cast(pl.Int64).alias("user.points"),
        pl.concat_str(pl.lit("lundi "), pl.col("draw") % 31, own).alias("user.until"),
        pl.concat_str(pl.lit("p-"), pl.col("draw") // 128 % 100_000, own).alias("user.product_id"),
    )


def _spec() -> MessageSpec:
    return spec_for(MESSAGE, {}, parse_template(TEMPLATE))


# -- the plain alternative: the Cloud API's body as models, one a person ----------------------------------------------


class Image(BaseModel):
    link: str


class Parameter(BaseModel):
    type: str
    text: str | None = None
    image: Image | None = None


class Component(BaseModel):
    type: str
    sub_type: str | None = None
    index: str | None = None
    parameters: list[Parameter]


class Language(BaseModel):
    code: str


class Filled(BaseModel):
    name: str
    language: Language
    components: list[Component]


class Request(BaseModel):
    messaging_product: str = "whatsapp"
    recipient_type: str = "individual"
    to: str
    type: str = "template"
    template: Filled


def dumped(frame: pl.DataFrame) -> list[str]:
    """One request a row."""
    out = []
    for phone, _, name, city, product, points, until, page in frame.iter_rows():
        texts = [
            _first(_single(name)) if name else "cher client",
            " ".join(_first(word) for word in _single(city).split(" ")) if city else "chez vous",
            _single(product).upper() if product else "Une surprise",
            str(points),
            _single(until),
        ]
        request = Request(
            to=phone,
            template=Filled(
                name="offer",
                language=Language(code="fr"),
                components=[
                    Component(type="header", parameters=[Parameter(type="image", image=Image(link=BANNER))]),
                    Component(type="body", parameters=[Parameter(type="text", text=text) for text in texts]),
                    Component(
                        type="button",
                        sub_type="url",
                        index="0",
                        parameters=[Parameter(type="text", text=quote(_single(page) if page else "accueil"))],
                    ),
                ],
            ),
        )
        out.append(request.model_dump_json(exclude_none=True))
    return out


def _single(text: str) -> str:
    return " ".join(text.split())


def _first(word: str) -> str:
    return word[:1].upper() + word[1:]


if __name__ == "__main__":
    sys.exit(main())
