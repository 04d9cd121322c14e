"""Everything Dagster is told: assets, jobs, sensors, the schedule and the resources they use.

What belongs here: the assembly, and nothing else. `build_defs` takes other resources for tests and the command line.
"""

from typing import Any

import dagster as dg

from assets.build import build_assets
from pipelines.dispatch import dispatch
from pipelines.jobs import one_pass
from pipelines.schedules import every_minute
from pipelines.sensors import much_to_send, something_due
from resources.definitions import HomeResource, PassResource


def build_defs(**overrides: Any) -> dg.Definitions:
    """The definitions of one home; `overrides` replaces resources (`home`, `passing`) by name."""
    resources: dict[str, Any] = {"home": HomeResource(), "passing": PassResource.configure_at_launch(), **overrides}
    home = resources["home"]
    return dg.Definitions(
        assets=build_assets(home),
        jobs=[one_pass, dispatch],
        sensors=[something_due, much_to_send],
        schedules=[every_minute],
        resources=resources,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the home in ESTAFETTE_HOME, read when Dagster asks for them."""
    return build_defs()
