"""What there is once: whatever else goes wrong, the ledger itself refuses the second row."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from resources.ledger import Ledger
from resources.tables import metadata

KEYS: list[tuple[str, tuple[str, ...], Mapping[str, object]]] = [
    ("message", ("participant_id", "step", "visit", "copy"), {}),
    ("message", ("wamid",), {"wamid": "wamid.1", "participant_id": None}),
    ("skip", ("participant_id", "step", "visit"), {}),
    ("participant", ("campaign", "contact_id", "key", "occurrence", "entered_at"), {"left_at": 5}),
    ("participant", ("campaign", "contact_id", "key"), {"left_at": None, "occurrence": None}),
    ("occurrence", ("campaign", "entry", "name"), {}),
    ("waiting_entry", ("campaign", "entry", "occurrence", "contact_id", "key"), {}),
    ("request", ("uuid",), {}),
    ("answer", ("uuid",), {}),
    ("reply", ("wamid",), {}),
    ("coupon", ("pool", "code"), {}),
    ("click", ("event_id",), {}),
    ("goal", ("participant_id", "goal"), {}),
    ("landing_file", ("kind", "name"), {}),
    ("lake_file", ("path",), {}),
    ("lease", ("name",), {}),
]


@pytest.mark.parametrize(("name", "key", "more"), KEYS)
def test_of_what_there_is_once_the_ledger_refuses_a_second(
    tmp_path: Path, name: str, key: tuple[str, ...], more: Mapping[str, object]
) -> None:
    table = metadata.tables[name]
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    made = 0

    def add(**changed: object) -> None:
        nonlocal made
        made += 1
        values: dict[str, object] = {}
        for column in table.c:
            text = isinstance(column.type, sa.Text)
            if column.name in key:
                values[column.name] = "x" if text else 1
            elif column.primary_key or (column.name in more and more[column.name] is None and not column.nullable):
                values[column.name] = f"{made}" if text else made  # another one in each row
            elif not column.nullable:
                values[column.name] = "x" if text else 1
        with ledger.write() as tx:
            tx.execute(table.insert().values({**values, **{k: v for k, v in more.items() if v is not None}, **changed}))

    add()
    with pytest.raises(sa.exc.IntegrityError):
        add()
    for column in key:
        add(**{column: "y" if isinstance(table.c[column].type, sa.Text) else 2})
    ledger.close()
