"""The project's definitions for a daemon whose passes do not linger, so that every event finds it idle."""

from pipelines import sensors
from pipelines.definitions import defs as defs

sensors.PASS_CONFIG["resources"]["passing"]["config"]["linger"] = 1.0
