"""`query`: one question to the analyst database.

What belongs here: showing a result. What a query may be is `resources.analyst_query`.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console

from estafette import show
from estafette.session import Session
from journey.problems import EstafetteError, UsageError
from resources.analyst_query import query_apart as ask

MOST = 1_000  # rows that a person looks at


def query(session: Session, sql: str) -> None:
    """Run one query. EstafetteError: it fails, or nothing was published yet."""
    with session.open() as home:
        path, timezone = home.paths.analytics, home.project.settings.timezone
    try:
        result = ask(path, sql, timezone=timezone)
    except UsageError as error:  # the command is used as it should be; it is the query that fails
        raise EstafetteError(error.message, where=error.where, mend=error.mend) from None

    def draw(console: Console) -> None:
        console.print(
            show.table(result.columns, [[_shown(value) for value in row] for row in result.rows[:MOST]], grouped=False)
        )
        more = f"; the first {MOST:,} are shown" if len(result.rows) > MOST else ""
        console.print(f"{len(result.rows):,} {'row' if len(result.rows) == 1 else 'rows'}{more}", style="dim")

    rows = [[_json(value) for value in row] for row in result.rows]
    session.show({"columns": list(result.columns), "types": list(result.types), "rows": rows}, draw)


def _shown(value: Any) -> Any:
    """A value of DuckDB's as a table has it: times with a space, at which a narrow terminal breaks them."""
    return value.isoformat(sep=" ") if isinstance(value, datetime) else _json(value)


def _json(value: Any) -> Any:
    """A value of DuckDB's as JSON has it: decimals and floats as numbers, times as text."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _json(one) for key, one in value.items()}
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
