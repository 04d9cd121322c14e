"""Statuses of a webhook log into their frame, by the column.

What belongs here: the columns. Statuses are nearly all of a log: three a message. Each is read as it is and checked
once; what of it goes where is done for all of them together, which takes a third of the time of a row each. What
nothing reads of a status (whom it went to, its conversation) is not decoded.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from journey import webhook_shapes as shapes
from journey.webhook_rows import NAMELESS, Where, error, microseconds, typed_series

_NO_ERROR = (None, None, None)
_NO_PRICING = shapes.Pricing()


class Statuses:
    """The statuses so far, and where each stood."""

    def __init__(self) -> None:
        self._found: list[shapes.Status] = []
        self._wheres: list[Where] = []
        self._times: dict[shapes.Seconds, int] = {}  # a log has thousands of statuses a second

    def __len__(self) -> int:
        return len(self._found)

    def add(self, where: Where, some: Sequence[shapes.Status]) -> None:
        """Statuses of one place. ValueError: one of them names nothing, or its time is none; then none is added."""
        for one in some:
            if not (one.id.strip() and one.status.strip()):
                raise ValueError(NAMELESS)
            if one.timestamp not in self._times:
                self._times[one.timestamp] = microseconds(one.timestamp)
        self._found.extend(some)
        self._wheres.extend([where] * len(some))

    def cut(self, length: int) -> None:
        """Forget what came after the first `length`."""
        del self._found[length:], self._wheres[length:]

    def frame(self) -> pl.DataFrame:
        """All of them (`webhook_shapes.STATUSES`), in their order."""
        found, wheres = self._found, self._wheres
        errors = [error(one.errors) if one.errors else _NO_ERROR for one in found]
        pricing = [one.pricing or _NO_PRICING for one in found]
        columns: dict[str, Sequence[Any]] = {
            "line": [one[0] for one in wheres],
            "received_at": [one[1] for one in wheres],
            "waba_id": [one[2] for one in wheres],
            "phone_number_id": [one[3] for one in wheres],
            "wamid": [one.id for one in found],
            "status": [one.status for one in found],
            "status_at": [self._times[one.timestamp] for one in found],
            "callback": [one.biz_opaque_callback_data for one in found],
            "error_code": [code for code, _, _ in errors],
            "error_title": [title for _, title, _ in errors],
            "error_details": [details for _, _, details in errors],
            "pricing_category": [one.category for one in pricing],
            "pricing_type": [one.type for one in pricing],
        }
        return pl.DataFrame([typed_series(name, kind, columns[name]) for name, kind in shapes.STATUSES.items()])
