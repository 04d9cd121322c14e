"""Which ledger tables the analysts see, and which of their columns.

What belongs here: the way from a table of the ledger to a table of `journey.schemas`. When and how rows are exported is
`resources.export`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from journey import schemas
from journey.schemas import Table


@dataclass(frozen=True, slots=True)
class Exported:
    """A ledger table that is exported. `renamed`: the analysts' column → the ledger's; `absent`: columns that the
    ledger does not have; `extra`: further columns of the ledger that the files carry."""

    name: str
    table: Table
    renamed: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    extra: Mapping[str, pl.DataType] = field(default_factory=dict)
    grows: bool = False  # rows are only ever added, by writers that set no mark; a change or a deletion must set one

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that are read from the ledger."""
        return {n: t for n, t in self.table.schema.items() if n not in self.absent} | dict(self.extra)

    @property
    def query(self) -> str:
        columns = ", ".join(f'"{self.renamed.get(name, name)}" AS "{name}"' for name in self.schema)
        return f"SELECT {columns} FROM {self.name} WHERE id >= ? AND id < ? ORDER BY id"


_PRICE = frozenset({"price", "currency", "price_source"})
EXPORTED: tuple[Exported, ...] = (
    Exported("participant", schemas.PARTICIPANTS, {"participant_id": "id"}),
    Exported(
        "message",
        schemas.MESSAGES,
        {"message_id": "id"},
        absent=_PRICE | {"body"},
        extra={"body_file": pl.Int64(), "body_row": pl.Int64()},
    ),
    Exported("reply", schemas.REPLIES, extra={"sender": pl.String()}),
    Exported("skip", schemas.SKIPS),
    Exported("consent_history", schemas.CONSENT_HISTORY, grows=True),
    Exported("quarantine", schemas.QUARANTINE, grows=True),
)
BY_NAME = {one.name: one for one in EXPORTED}
