"""What the installation keeps of itself: who it is, who may act, which files of the lake and of the export count."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

#: Facts about the installation: schema_version, installation (random), epoch (raised by a restore), …
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

#: Who may act now. `token` rises with every holder; a writer whose token is not the row's has lost. `until` is wall.
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text),
)

#: The lake's files that count. A file without a row here is an orphan of a crash and is never read.
lake_file = sa.Table(
    "lake_file",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),  # the lake's table
    sa.Column("path", sa.Text, nullable=False, unique=True),  # under data/lake/
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),  # -1: it was lost, and rows still name it
    sa.Column("min_at", sa.BigInteger),
    sa.Column("max_at", sa.BigInteger),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # wall
    sa.Column("dropped_at", sa.BigInteger),  # wall; merged or replaced: no longer read, deleted a day later
)
sa.Index("lake_file_live", lake_file.c.name, lake_file.c.id, sqlite_where=lake_file.c.dropped_at.is_(None))

#: Which buckets of mutable rows changed since they were last exported for the analysts (100,000 ids a bucket).
dirty = sa.Table(
    "dirty",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True),
)

#: The analyst database's files of exported state: the newest one of each (table, bucket).
export = sa.Table(
    "export",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
)

#: A campaign in which an error came up that nobody foresaw, until it gets through a turn again: what was being done,
#: and the error in one line.
trouble = sa.Table(
    "trouble",
    metadata,
    sa.Column("campaign", sa.Text, primary_key=True),
    sa.Column("doing", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
)
