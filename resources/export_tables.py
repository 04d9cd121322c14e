"""Which ledger tables the analysts see, and which of their columns.

What belongs here: the way from a table of the ledger to a table of `journey.schemas`. When and how rows are exported is
`resources.export`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from journey import schemas
from journey.schemas import Table


@dataclass(frozen=True, slots=True)
class Exported:
    """A ledger table that is exported. `renamed`: the analysts' column → the ledger's; `absent`: columns that the
    ledger does not have; `extra`: further columns of the ledger that the files carry. Money is millionths in the ledger
    and a decimal in the files."""

    name: str
    table: Table
    renamed: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    extra: Mapping[str, pl.DataType] = field(default_factory=dict)
    of_campaigns: frozenset[str] = frozenset()  # null in rows that people made by hand, whose campaign is ''
    grows: bool = False  # rows are only ever added, by writers that set no mark; a change or a deletion must set one

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that are read from the ledger."""
        found = {n: t for n, t in self.table.schema.items() if n not in self.absent} | dict(self.extra)
        return {n: pl.Int64() if n in self.money else t for n, t in found.items()}

    @property
    def money(self) -> list[str]:
        """The columns of money."""
        return [column.name for column in self.table.columns if column.dtype is schemas.MONEY]

    def finished(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What was read (`schema`), as the files have it."""
        return frame.with_columns(
            *(
                (pl.col(name).cast(pl.Decimal(38, 6)) * pl.lit(_MILLIONTH)).cast(pl.Decimal(18, 6))
                for name in self.money
            ),
            *(
                pl.when(pl.col("campaign") != "").then(name).alias(name)
                for name in self.schema
                if name in self.of_campaigns
            ),
        )

    @property
    def query(self) -> str:
        """Reads the ids from the first parameter to below the second. SQLite goes by the ids, so they come in order;
        told to, it would first copy every row (a third of its time)."""
        columns = ", ".join(f'"{self.renamed.get(name, name)}" AS "{name}"' for name in self.schema)
        return f"SELECT {columns} FROM {self.name} WHERE id >= ? AND id < ?"


_OF_CAMPAIGNS = frozenset({"participant_id", "campaign", "version", "step", "visit"})
_MILLIONTH = Decimal("0.000001")
EXPORTED: tuple[Exported, ...] = (
    Exported("participant", schemas.PARTICIPANTS, {"participant_id": "id"}),
    Exported(
        "message",
        schemas.MESSAGES,
        {"message_id": "id"},
        absent=frozenset({"body"}),
        extra={"body_file": pl.Int64(), "body_row": pl.Int64()},
        of_campaigns=_OF_CAMPAIGNS,
    ),
    Exported("reply", schemas.REPLIES, extra={"sender": pl.String()}),
    Exported("skip", schemas.SKIPS, of_campaigns=_OF_CAMPAIGNS),
    Exported("coupon", schemas.COUPONS),
    Exported("click", schemas.CLICKS, grows=True),
    Exported("goal", schemas.GOALS, grows=True),
    Exported("consent_history", schemas.CONSENT_HISTORY, grows=True),
    Exported("quarantine", schemas.QUARANTINE, grows=True),
)
BY_NAME = {one.name: one for one in EXPORTED}
