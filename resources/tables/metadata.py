"""What all tables hang on, and the version of their schema.

A change of any table raises `SCHEMA_VERSION` once a release and brings a migration in `resources.migrations`.
"""

from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.schema import CreateIndex, CreateTable

SCHEMA_VERSION = 3

metadata = sa.MetaData()


@cache
def statements() -> tuple[str, ...]:
    """What makes all tables and indexes of a new ledger, in SQLite's words: put together once a process."""
    wanted: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        wanted.append(CreateTable(table))
        wanted.extend(CreateIndex(index) for index in sorted(table.indexes, key=lambda one: str(one.name)))
    return tuple(str(one.compile(dialect=dialect())) for one in wanted)
