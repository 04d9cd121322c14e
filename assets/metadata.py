"""What Dagster's pages show of each asset: row counts, columns, places.

What belongs here: building `AssetMaterialization`s, and the metadata that they share with the assets made by hand.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from resources.analyst_db import Published
from resources.home import Home
from resources.segments import Audience

Metadata = Mapping[str, Any]


def contacts_event(home: Home) -> dg.AssetMaterialization:
    """The contacts as they are now."""
    return dg.AssetMaterialization("contacts", metadata={"dagster/row_count": home.contacts.count()})


def events_event(home: Home) -> dg.AssetMaterialization:
    """The events as they are now."""
    with home.ledger.read() as tx:
        rows = sum(int(str(row.rows)) for row in home.lake.rows("events", tx))
    return dg.AssetMaterialization("events", metadata={"dagster/row_count": rows})


def segment_metadata(audience: Audience) -> Metadata:
    """Row count, who was left out, and the columns of a segment. Nothing of a person: Dagster keeps it for good, and
    `estafette forget` does not reach there."""
    return {
        "dagster/row_count": audience.frame.height,
        "left_out_null": audience.nulls,
        "left_out_unknown": audience.unknown,
        "left_out_repeated": audience.repeated,
        "columns": ", ".join(audience.frame.columns),
    }


def segment_event(name: str, audience: Audience) -> dg.AssetMaterialization:
    """A segment as a pass evaluated it."""
    return dg.AssetMaterialization(dg.AssetKey(["segments", name]), metadata=segment_metadata(audience))


def deliveries_event(home: Home, reports: Sequence[Any]) -> dg.AssetMaterialization:
    """Every message by state, and what the lanes of this run did."""
    states = home.ledger.frame(
        "SELECT state, count(*) FROM message GROUP BY state ORDER BY state", {"state": pl.String, "messages": pl.Int64}
    )
    lanes = pl.DataFrame(
        [(r.sender, r.posted, r.accepted, r.refused, r.unknown, r.ended) for r in reports],
        schema=["sender", "posted", "accepted", "refused", "unknown", "ended"],
        orient="row",
    )
    return dg.AssetMaterialization(
        "deliveries",
        metadata={
            "dagster/row_count": int(states.get_column("messages").sum()),
            "states": dg.MetadataValue.md(table(states)),
            "lanes": dg.MetadataValue.md(table(lanes)),
        },
    )


def published_event(published: Published) -> dg.AssetMaterialization:
    """The analysts' database as it was published."""
    counts = pl.DataFrame(list(published.counts.items()), schema=["name", "rows"], orient="row")
    return dg.AssetMaterialization(
        "analyst_db",
        metadata={
            "path": dg.MetadataValue.path(str(published.path)),
            "seconds": published.seconds,
            "changed": published.changed,
            "rows": dg.MetadataValue.md(table(counts)),
        },
    )


def without_values(why: str) -> str:
    """What went wrong, without the values that DuckDB quotes: they may be somebody's, and Dagster keeps its log."""
    return re.sub(r"'[^']*'|[0-9]{5,}", "…", why)


def table(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table."""
    rows = [frame.columns, ["---"] * frame.width, *frame.iter_rows()]
    return "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
