"""Cohorts: deciding for everyone at once is deciding for each alone."""

from datetime import timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign_reading import load_campaign
from journey.cohort import MOVES, STANDING, WAITS, decide
from journey.words import MessageState, SkipReason

DAY, HOUR = 86_400_000_000, 3_600_000_000
NOW = 100 * DAY

TEXT = """
name: offer
sender: main
entries: [audience: {segment: everyone}]
settings: {when_unknown: {after: 24h, then: %s}}
steps:
  plain:
    message: {template: a, language: fr}
    next: waits
    on_skip: {missing_variable: waits, else: end}
    on_failure: waits
  waits:
    message: {template: a, language: fr}
    on_read: {within: 2d, read: plain, not_read: end, undelivered: lost%s}
  lost:
    message: {template: a, language: fr}
"""


def campaign(then="assume_sent", more=""):
    found, problems = load_campaign(TEXT % (then, more), "campaigns/offer.yaml")
    assert found is not None, problems
    return found


CAMPAIGNS = {
    (then, full): campaign(then, ", full_wait: true" if full else "")
    for then in ("assume_sent", "resend", "fail")
    for full in (False, True)
}


def expected(then, full, row, now):
    """(branch, to, reason) of one person as a sentence of the spec would put it; None: stays (with when to look)."""
    state, unsettled = row["message_state"], row["message_state"] == "unknown"
    if row["step"] not in ("plain", "waits", "lost"):
        return "next", "end", "step_removed"
    if row["skip_reason"] is not None:
        to = "waits" if row["step"] == "plain" and row["skip_reason"] == "missing_variable" else "end"
        return "on_skip", to, "skipped" if to == "end" else None
    if state == "failed":
        to = "waits" if row["step"] == "plain" else "end"
        return "on_failure", to, "failed" if to == "end" else None
    through = state in ("accepted", "sent", "delivered", "read")
    if unsettled and then == "assume_sent" and row["settled"] and row["attempted_at"] + DAY <= now:
        through = True
    if not through:
        return None, row["attempted_at"] + DAY if unsettled else None
    if row["step"] != "waits":
        to = "waits" if row["step"] == "plain" else "end"
        return "next", to, "end" if to == "end" else None
    deadline = (row["accepted_at"] if row["accepted_at"] is not None else row["attempted_at"]) + 2 * DAY
    read = row["read_at"] is not None and row["read_at"] <= deadline
    if read and (not full or deadline <= now):
        return "read", "plain", None
    if deadline > now:
        return None, deadline
    reached = any(row[name] is not None and row[name] <= deadline for name in ("read_at", "delivered_at"))
    return ("not_read", "end", "end") if reached else ("undelivered", "lost", None)


moments = st.integers(-4 * 24, 0).map(lambda hours: NOW + hours * HOUR)
maybe = st.none() | moments


@st.composite
def people(draw):
    state = draw(st.none() | st.sampled_from(list(MessageState)))
    return {
        "step": draw(st.sampled_from(["plain", "waits", "lost", "gone"])),
        "visit": 1,
        "message_state": str(state) if state is not None else None,
        "settled": draw(st.booleans()),
        "skip_reason": draw(st.none() | st.sampled_from([str(one) for one in SkipReason]))
        if state in (None, "skipped")
        else None,
        "attempted_at": draw(moments),
        "accepted_at": draw(maybe),
        "delivered_at": draw(maybe),
        "read_at": draw(maybe),
    }


@given(st.lists(people(), max_size=30), st.sampled_from(sorted(CAMPAIGNS)))
def test_a_cohort_goes_as_each_of_its_people_would_alone(rows, kind):
    rows = [{"participant_id": n, "contact_id": f"c{n}", **row} for n, row in enumerate(rows)]
    moves, waits = decide(CAMPAIGNS[kind], pl.DataFrame(rows, schema=STANDING), NOW)
    assert dict(moves.schema) == MOVES
    assert dict(waits.schema) == WAITS
    moved = {row["participant_id"]: (row["branch"], row["to_step"], row["reason"]) for row in moves.to_dicts()}
    waiting = {row["participant_id"]: (row["wake_at"], row["message_state"]) for row in waits.to_dicts()}
    assert len(moved) == moves.height
    assert not moved.keys() & waiting.keys()
    for row in rows:
        want = expected(*kind, row, NOW)
        if want[0] is not None:
            assert moved[row["participant_id"]] == want, row
        elif row["message_state"] is None:
            assert row["participant_id"] not in moved.keys() | waiting.keys(), "is to be planned first"
        else:
            assert waiting[row["participant_id"]] == (want[1], row["message_state"]), row


def test_nobody_stands_anywhere():
    moves, waits = decide(campaign(), pl.DataFrame(schema=STANDING), NOW)
    assert (moves.height, waits.height) == (0, 0)


def test_the_deadline_itself_counts_and_a_microsecond_later_does_not():
    found = CAMPAIGNS["assume_sent", False]
    row = {"participant_id": 1, "contact_id": "c", "step": "waits", "visit": 1, "message_state": "read",
           "settled": True, "skip_reason": None, "attempted_at": 0, "accepted_at": 0, "delivered_at": 1}  # fmt: skip
    deadline = timedelta(days=2) // timedelta(microseconds=1)
    for read_at, branch in ((deadline, "read"), (deadline + 1, "not_read")):
        moves, _ = decide(found, pl.DataFrame([{**row, "read_at": read_at}], schema=STANDING), deadline + DAY)
        assert moves["branch"].to_list() == [branch]
