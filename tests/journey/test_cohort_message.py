"""Message steps: deciding for everyone at once is deciding for each alone, by the sentences of the spec."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign_reading import load_campaign
from journey.cohort import MOVES, WAITS, decide, facts
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
  asks:
    message: {template: a, language: fr}
    on_reply: {within: 2d, answers: {"Oui, ça m’intéresse": plain, "Non, merci": end}, other: lost, silence: waits%s}
    on_failure: lost
  lost:
    message: {template: a, language: fr}
    next: asks
"""


def campaign(then="assume_sent", more=""):
    found, problems = load_campaign(TEXT % (then, more, more), "campaigns/offer.yaml")
    assert found is not None, problems
    return found


CAMPAIGNS = {
    (then, full): campaign(then, ", full_wait: true" if full else "")
    for then in ("assume_sent", "resend", "fail")
    for full in (False, True)
}
NEXT = {"plain": "waits", "lost": "asks"}
ON_FAILURE = {"plain": "waits", "waits": "end", "asks": "lost", "lost": "end"}
ANSWERS = {"oui, ça m'intéresse": ("Oui, ça m’intéresse", "plain"), "non, merci": ("Non, merci", "end")}


def expected(then, full, step, row, now):
    """(branch, to, reason) of one person as sentences of the spec put it; (None, when to look again): stays."""
    if step not in ("plain", "waits", "asks", "lost"):
        return "next", "end", "step_removed"
    if row["skip_reason"] is not None:
        to = "waits" if step == "plain" and row["skip_reason"] == "missing_variable" else "end"
        return "on_skip", to, "skipped" if to == "end" else None
    state = row["message_state"]
    if state is None:
        return None, "is to be planned first"
    waits = step in ("waits", "asks")
    begins = row["attempted_at"] if row["accepted_at"] is None else row["accepted_at"]
    deadline = begins + 2 * DAY if waits else None
    answer = None
    if step == "asks" and row["answered_at"] is not None and row["answered_at"] <= deadline:
        both = [(row[name] or "").strip(" !").lower().replace("’", "'") for name in ("answer_payload", "answer_text")]
        answer = next((ANSWERS[one] for one in both if one in ANSWERS), ("other", "lost"))
    went = state in ("accepted", "sent", "delivered", "read")
    if state == "failed":
        too_late = waits and row["accepted_at"] is not None and (row["failed_at"] or 0) > deadline
        moved_before = answer is not None and not full and row["failed_at"] is not None
        moved_before = moved_before and row["answered_at"] < row["failed_at"]
        if not too_late and not moved_before:
            to = ON_FAILURE[step]
            return "on_failure", to, "failed" if to == "end" else None
        went = too_late
    if answer is not None and (not full or deadline <= now):
        return answer[0], answer[1], "end" if answer[1] == "end" else None
    unsure = state == "unknown"
    if unsure and then == "assume_sent" and row["settled"] and row["attempted_at"] + DAY <= now:
        went = True
    if step == "asks" and row["answered_at"] is not None and state in ("unknown", "attempted"):
        went = True
    if answer is not None and deadline > now:
        return None, deadline
    if not went:
        return None, row["attempted_at"] + DAY if unsure else None
    if not waits:
        return "next", NEXT[step], None
    if step == "waits":
        read = row["read_at"] is not None and row["read_at"] <= deadline
        if read and (not full or deadline <= now):
            return "read", "plain", None
    if deadline > now:
        return None, deadline
    if step == "asks":
        return "silence", "waits", None
    reached = any(row[name] is not None and row[name] <= deadline for name in ("read_at", "delivered_at"))
    return ("not_read", "end", "end") if reached else ("undelivered", "lost", None)


moments = st.integers(-16, 0).map(lambda quarters: NOW + quarters * 6 * HOUR)
said = st.sampled_from(
    [None, "oui, ça m'intéresse", "Oui, ça m’intéresse !", "NON, MERCI", "peut-être", " non, merci "]
)


@st.composite
def people(draw):
    state = draw(st.none() | st.sampled_from(list(MessageState)))
    times = st.none() if state is None else moments
    maybe = st.none() | times
    skipped = st.none() | st.sampled_from([str(one) for one in SkipReason])
    return {
        "visit": draw(st.integers(1, 3)),
        "arrived_at": NOW - 5 * DAY,
        "message_state": str(state) if state is not None else None,
        "settled": draw(st.booleans()),
        "skip_reason": draw(skipped) if state in (None, "skipped") else None,
        "attempted_at": draw(times),
        "accepted_at": draw(maybe),
        "delivered_at": draw(maybe),
        "read_at": draw(maybe),
        "failed_at": draw(maybe),
        "answered_at": draw(maybe),
        "answer_payload": draw(said),
        "answer_text": draw(said),
    }


@given(
    st.lists(people(), max_size=30),
    st.sampled_from(["plain", "waits", "asks", "lost", "gone"]),
    st.sampled_from(sorted(CAMPAIGNS)),
)
def test_a_cohort_goes_as_each_of_its_people_would_alone(rows, step, kind):
    rows = [{"participant_id": n, "contact_id": f"c{n}", **row} for n, row in enumerate(rows)]
    schema = facts(CAMPAIGNS[kind].steps.get(step))
    found = decide(CAMPAIGNS[kind], step, pl.DataFrame(rows, schema=schema), NOW)
    assert dict(found.moves.schema) == dict(MOVES)
    assert dict(found.waits.schema) == dict(WAITS)
    moved = {row["participant_id"]: row for row in found.moves.to_dicts()}
    waiting = {row["participant_id"]: (row["wake_at"], row["message_state"]) for row in found.waits.to_dicts()}
    assert len(moved) == found.moves.height
    assert not moved.keys() & waiting.keys()
    for row in rows:
        want, one = expected(*kind, step, row, NOW), row["participant_id"]
        if want == (None, "is to be planned first"):
            assert one not in moved.keys() | waiting.keys()
        elif want[0] is None:
            assert waiting[one] == (want[1], row["message_state"]), row
        else:
            assert (moved[one]["branch"], moved[one]["to_step"], moved[one]["reason"]) == want, row
            assert (moved[one]["from_step"], moved[one]["from_visit"]) == (step, row["visit"])
            at_once = want[0] in ("next", "on_skip", "on_failure")
            assert moved[one]["waited"] is not at_once, "not_after is void after a wait"


def test_nobody_stands_anywhere():
    found = campaign()
    for step in found.steps:
        decided = decide(found, step, pl.DataFrame(schema=facts(found.steps[step])), NOW)
        assert (decided.moves.height, decided.waits.height) == (0, 0)


ONE = {"participant_id": 1, "contact_id": "c", "visit": 1, "arrived_at": 0, "message_state": "read", "settled": True,
       "skip_reason": None, "attempted_at": 0, "accepted_at": 0, "delivered_at": 1, "read_at": None, "failed_at": None,
       "answered_at": None, "answer_payload": None, "answer_text": None}  # fmt: skip


@pytest.mark.parametrize(
    "step, what, in_time, late", [("waits", "read_at", "read", "not_read"), ("asks", "answered_at", "other", "silence")]
)
def test_the_deadline_itself_counts_and_a_microsecond_later_does_not(step, what, in_time, late):
    found = CAMPAIGNS["assume_sent", False]
    for at, branch in ((2 * DAY, in_time), (2 * DAY + 1, late)):
        row = pl.DataFrame([{**ONE, what: at}], schema=facts(found.steps[step]))
        assert decide(found, step, row, 3 * DAY).moves["branch"].to_list() == [branch]


@pytest.mark.parametrize("state", ["unknown", "attempted"])
def test_an_answer_proves_that_its_message_arrived(state):
    row = {**ONE, "message_state": state, "accepted_at": None, "answered_at": HOUR, "answer_text": "non, merci"}
    found = CAMPAIGNS["assume_sent", False]
    moves = decide(found, "asks", pl.DataFrame([row], schema=facts(found.steps["asks"])), HOUR).moves
    assert moves.select("branch", "to_step", "reason").rows() == [("Non, merci", "end", "end")]


def test_a_payload_is_looked_at_before_the_text():
    row = {**ONE, "answered_at": 1, "answer_payload": "Non, merci", "answer_text": "Oui, ça m'intéresse"}
    found = CAMPAIGNS["assume_sent", False]
    moves = decide(found, "asks", pl.DataFrame([row], schema=facts(found.steps["asks"])), HOUR).moves
    assert moves["branch"].to_list() == ["Non, merci"]
