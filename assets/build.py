"""The assets of one home: one a segment file, and the stores that hang together with them.

What belongs here: keys, lineage and descriptions. Project files are read when Dagster asks for definitions, not at
import; a segment that was added since works in campaigns at once, and shows here after a reload.
"""

from collections.abc import Sequence

import dagster as dg

from assets.metadata import segment_metadata
from journey.audience import Segment, references
from resources.definitions import HomeResource
from resources.project import Project
from resources.template_cache import pull

GROUP = "estafette"


def build_assets(home: HomeResource) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset of a home."""
    opened = home.open()
    try:
        segments = Project.load(opened.path).segments
    finally:
        opened.close()
    keys = [dg.AssetKey(["segments", name]) for name in segments]
    made = "Written by the job `one_pass`."
    return [
        _spec("contacts", f"Everyone who may be messaged, one row a person. {made}", []),
        _spec("events", f"What contacts did. {made}", ["contacts"]),
        templates,
        *[_segment(segment) for segment in segments.values()],
        _spec("deliveries", f"Every message and what became of it. {made}", [*keys, "templates"]),
        _spec("analyst_db", f"data/analytics.duckdb. {made}", ["contacts", "events", "deliveries"]),
    ]


@dg.asset(
    group_name=GROUP,
    kinds={"whatsapp"},
    description="Message templates as Meta has them, one file a (name, language) in templates/.",
)
def templates(home: HomeResource) -> dg.MaterializeResult[None]:
    """Pull every template of every sender's account."""
    opened = home.open()
    try:
        pulled = pull(opened)
    finally:
        opened.close()
    return dg.MaterializeResult(metadata={"dagster/row_count": pulled.templates, "changed": len(pulled.changed)})


def _segment(segment: Segment) -> dg.AssetsDefinition:
    others = [dg.AssetKey(["segments", name]) for _, name in references(segment)]

    @dg.asset(
        key=dg.AssetKey(["segments", segment.name]),
        deps=["contacts", "events", *others],
        group_name=GROUP,
        kinds={"duckdb" if segment.kind == "sql" else "yaml"},
        description=f"The segment {segment.file}: a look at who is in it now. Campaigns evaluate it anew.",
        metadata={"file": segment.file},
    )
    def look(home: HomeResource) -> dg.MaterializeResult[None]:
        opened = home.open()
        try:
            return dg.MaterializeResult(metadata=segment_metadata(opened.segment(segment.name, opened.clock())))
        finally:
            opened.close()

    return look


def _spec(key: str, description: str, deps: Sequence[str | dg.AssetKey]) -> dg.AssetSpec:
    return dg.AssetSpec(key, description=description, deps=deps, group_name=GROUP)
