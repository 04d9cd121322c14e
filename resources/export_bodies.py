"""The rendered bodies of messages, for the analysts' table of messages.

What belongs here: finding the bodies of a bucket's messages, in its last export or in the files that they were rendered
into. What else a bucket has is `resources.export`; one body for sending is `resources.bodies`.
"""

import polars as pl
import sqlalchemy as sa

from resources.lake import Lake, wrong
from resources.tables import lake_file

_BODIES = {"message_id": pl.Int64(), "body_file": pl.Int64(), "body_row": pl.Int64(), "body": pl.String()}
_KEY = ["message_id", "body_file", "body_row"]


class BodyFiles:
    """The files of bodies that count at the moment of `tx`; `lost`: those of them that were needed and are gone."""

    def __init__(self, lake: Lake, tx: sa.Connection) -> None:
        self.lake = lake
        rows = tx.execute(sa.select(lake_file.c.id, lake_file.c.path).where(lake_file.c.name == "bodies"))
        self.paths: dict[int, str] = {int(row.id): str(row.path) for row in rows}
        self.lost: set[str] = set()

    def add(self, messages: pl.DataFrame, before: str) -> pl.DataFrame:
        """`messages` (message_id, body_file, body_row, …) with `body` String; null where there is none, or its file is
        gone. `before`: the path of the bucket's last export (or empty); a body never changes, so what that has is taken
        from there: messages planned one by one have a file each, and opening them all takes minutes. Not where the disk
        has spoilt it: what it spoils would be copied on for good, or nothing be published any more."""
        old = pl.DataFrame(schema=_BODIES)
        if before and self._is_whole(before):
            old = pl.read_parquet(self.lake.root / before, columns=list(_BODIES), glob=False).drop_nulls()
        named = messages.select(_KEY).drop_nulls()
        new = named.join(old, on=_KEY, how="anti")
        parts = [old]
        for (file_id,), group in new.partition_by("body_file", as_dict=True).items():
            texts = self._texts(self.paths.get(int(str(file_id)), f"lake file {file_id}"))
            if texts is not None:
                parts.append(group.with_columns(body=texts.gather(group.get_column("body_row"))))
        return messages.join(pl.concat(parts), on=_KEY, how="left", maintain_order="left")

    def _is_whole(self, path: str) -> bool:
        try:
            size = (self.lake.root / path).stat().st_size
        except OSError:
            return False
        return wrong(self.lake.root, path, size, read=True) is None

    def _texts(self, path: str) -> pl.Series | None:
        try:
            return pl.read_parquet(self.lake.root / path, columns=["body"], glob=False).get_column("body")
        except (FileNotFoundError, pl.exceptions.PolarsError):  # gone, or cut short
            self.lost.add(path)
            return None
