"""Media of messages: what can't be fetched now holds its messages, what never can be skips them.

What belongs here: what a pass makes of the checks of `resources.media`. Whether they are made at all is the setting
`media.check`.
"""

import polars as pl

from journey.words import SkipReason
from resources.home import Home
from resources.media_fetch import Trouble

_HEADER = r'"type":"(image|video|document)","(?:image|video|document)":\{"link":"([^"\\]*)"'
"""The header's media in a body as `journey.skeleton` writes it. Quotes in people's data are escaped there."""

AT_ONCE = 50_000  # bodies in memory


def with_media_checked(home: Home, people: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Rendered people (media, held_why, skip_reason, skip_detail) with what the checks of their media say.

    What may mend itself holds (held_why; a hold for the template stays what it is); an address in a private network
    skips. `held_detail` (String) is the address and what is wrong with it.
    """
    waits = people.get_column("skip_reason").is_null()
    urls = people.get_column("media").filter(waits).drop_nulls().unique().to_list()
    said = _troubles(home, kind, urls)
    why = pl.col("media").replace_strict(
        {url: f"{url}: {trouble.why}" for url, trouble in said.items()}, default=None, return_dtype=pl.String
    )
    private = pl.col("media").is_in([url for url, trouble in said.items() if trouble.private]).fill_null(False)
    troubled = pl.col("skip_reason").is_null() & why.is_not_null()
    reason = pl.lit(SkipReason.media_unreachable.value)
    held = troubled & ~private & pl.col("held_why").is_null()
    return people.with_columns(
        pl.when(troubled & private).then(reason).otherwise("skip_reason").alias("skip_reason"),
        pl.when(troubled & private).then(why).otherwise("skip_detail").alias("skip_detail"),
        pl.when(held).then(reason).otherwise("held_why").alias("held_why"),
        pl.when(held).then(why).alias("held_detail"),
    )


def still_unreachable(home: Home, messages: pl.DataFrame) -> pl.DataFrame:
    """Which of these planned messages (id, body_file, body_row; Int64) have media that can't be fetched now.

    Gives id, detail (the address and what is wrong with it) and private (it never can be), for those only; nothing
    where `media.check` is off. Looks at each address once in a while, however often it is asked (`resources.media`).
    """
    places = addresses(home, messages)
    found: list[tuple[str, str, str, bool]] = []
    for (kind,), part in places.drop_nulls().unique(maintain_order=True).partition_by("kind", as_dict=True).items():
        troubles = _troubles(home, str(kind), part.get_column("url").to_list())
        found += [(str(kind), url, f"{url}: {one.why}", one.private) for url, one in troubles.items()]
    schema = {"kind": pl.String, "url": pl.String, "detail": pl.String, "private": pl.Boolean}
    known = pl.DataFrame(found, schema=schema, orient="row")
    held = pl.concat([messages.select("id"), places], how="horizontal")
    return held.join(known, on=["kind", "url"], maintain_order="left").select("id", "detail", "private")


def addresses(home: Home, messages: pl.DataFrame) -> pl.DataFrame:
    """kind (image, video, document) and url of the header's media of planned messages (body_file, body_row; Int64), row
    by row; null where a message has none."""
    parts = [
        home.bodies.all(part.select("body_file", "body_row"))
        .to_frame("body")
        .select(kind=pl.col("body").str.extract(_HEADER, 1), url=pl.col("body").str.extract(_HEADER, 2))
        for part in messages.iter_slices(AT_ONCE)
    ]
    return pl.concat([pl.DataFrame(schema={"kind": pl.String, "url": pl.String}), *parts])


def _troubles(home: Home, kind: str, urls: list[str]) -> dict[str, Trouble]:
    rules = home.project.settings.media
    return home.media.troubles(kind, urls, allow_private=rules.allow_private) if rules.check else {}
