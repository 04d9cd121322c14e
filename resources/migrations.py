"""How a ledger of an older schema becomes one of the next: one function a version, run in one transaction.

What belongs here: `MIGRATIONS[n]` takes schema n to n + 1 by plain statements on the open transaction. A released
migration is never changed.
"""

from collections.abc import Callable

import sqlalchemy as sa

MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {}
