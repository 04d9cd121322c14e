"""Places: what is known of an entry goes along with it where it stands elsewhere in its file.

What belongs here: entries are known by their place in the campaign file, and an entry that is put in front of another
one, or taken out before it, moves that. Its schedule, how far it has looked at events, its occurrences and who waits to
enter by it are still its own: else an audience of this morning would come in once more, and events that came in while
the campaign was stopped would be passed over.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from resources.tables import event_cursor as cursors
from resources.tables import occurrence as occurrences
from resources.tables import schedule as schedules
from resources.tables import waiting_entry as waiting

GONE = 1_000_000
"""From here on are the places of entries that are no more, and whose place another one has taken."""

TRIGGER = "trigger:"


def cursor_name(campaign: str, place: int) -> str:
    """The name under which a trigger keeps how far it has looked at the events."""
    return f"{TRIGGER}{campaign}:{place}"


def went(before: Mapping[int, str], now: Mapping[int, str]) -> dict[int, int]:
    """Where entries have gone: old place → new place, of those that are as they were (by digest) and stand elsewhere.
    Of several that are alike the first goes to the first place."""
    free = [place for place, digest in sorted(now.items()) if before.get(place) != digest]
    found: dict[int, int] = {}
    for place, digest in sorted(before.items()):
        if now.get(place) == digest:
            continue
        to = next((one for one in free if now[one] == digest), None)
        if to is not None:
            free.remove(to)
            found[place] = to
    return found


def follow(tx: sa.Connection, campaign: str, now: Mapping[int, str]) -> None:
    """Let everything that is known of a campaign's entries go to where they stand `now` (place → digest), and forget
    the schedules of those that are no more."""
    mine = schedules.c.campaign == campaign
    before = {row.entry: row.digest for row in tx.execute(sa.select(schedules).where(mine))}
    moves = went(before, now)
    # Whoever was at a place that another one takes, and has not gone anywhere, is no more.
    gone = sorted(set(moves.values()) & set(before) - set(moves))
    tx.execute(schedules.delete().where(mine, schedules.c.entry.in_([*gone, *(set(before) - set(now) - set(moves))])))
    tx.execute(cursors.delete().where(cursors.c.name.in_([cursor_name(campaign, place) for place in gone])))
    if not moves:
        return
    highest = sa.select(sa.func.max(occurrences.c.entry)).where(occurrences.c.campaign == campaign)
    first = max(GONE, int(tx.execute(highest).scalar() or 0) + 1)
    away = {place: first + number for number, place in enumerate(gone)}
    for table in (occurrences, waiting):
        _move(tx, table, campaign, moves | away)
    _move(tx, schedules, campaign, moves)
    names = {cursor_name(campaign, old): cursor_name(campaign, new) for old, new in moves.items()}
    rows = tx.execute(sa.select(cursors).where(cursors.c.name.in_(list(names)))).all()
    tx.execute(cursors.delete().where(cursors.c.name.in_([*names, *names.values()])))
    for row in rows:
        tx.execute(cursors.insert().values({**row._mapping, "name": names[row.name]}))


def _move(tx: sa.Connection, table: sa.Table, campaign: str, moves: Mapping[int, int]) -> None:
    """In two steps, because two entries may have changed places."""
    for old, new in moves.items():
        theirs = (table.c.campaign == campaign) & (table.c.entry == old)
        tx.execute(table.update().where(theirs).values(entry=-1 - new))
    moving = (table.c.campaign == campaign) & (table.c.entry < 0)
    tx.execute(table.update().where(moving).values(entry=-1 - table.c.entry))
