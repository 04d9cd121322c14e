"""Rendered bodies: one lake file a chunk of planned messages, read back by file and row.

What belongs here: writing a chunk's bodies and finding one again. A message row names its body's file and row; a body
lies in the lake because a million of them are 29 MB there and half a gigabyte in the ledger.
"""

import threading
from collections import OrderedDict

import polars as pl

from resources.lake import Lake, LakeFile

BODIES = {"participant_id": pl.Int64, "step": pl.String, "visit": pl.Int64, "body": pl.String}


class Bodies:
    """Bodies by (file, row), with the last few files kept in memory: messages are sent in the order of planning."""

    def __init__(self, lake: Lake, keep: int = 16) -> None:
        self.lake, self.keep = lake, keep
        self._files: OrderedDict[int, pl.Series] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, frame: pl.DataFrame) -> LakeFile:
        """Write the bodies of one chunk (`BODIES`); row n of the file is row n of the frame."""
        return self.lake.put("bodies", frame.select([pl.col(name).cast(t) for name, t in BODIES.items()]))

    def all(self, places: pl.DataFrame) -> pl.Series:
        """The bodies of many messages (body_file, body_row, Int64), row by row; each file is read once."""
        parts = [
            part.with_columns(body=self._read(int(str(file))).gather(part.get_column("body_row")))
            for (file,), part in places.with_row_index("place").partition_by("body_file", as_dict=True).items()
        ]
        if not parts:
            return pl.Series("body", [], pl.String)
        return pl.concat(parts).sort("place").get_column("body")

    def get(self, file_id: int, row: int) -> str:
        """One body."""
        with self._lock:
            series = self._files.get(file_id)
            if series is None:
                series = self._read(file_id)
                self._files[file_id] = series
                if len(self._files) > self.keep:
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(file_id)
        return str(series[row])

    def _read(self, file_id: int) -> pl.Series:
        try:
            return self._texts(file_id)
        except FileNotFoundError:  # written anew without somebody, between the two looks
            return self._texts(file_id)

    def _texts(self, file_id: int) -> pl.Series:
        return pl.read_parquet(self.lake.path(file_id), columns=["body"], glob=False).get_column("body")
