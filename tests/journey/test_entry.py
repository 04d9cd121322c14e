"""Coming in: how often, once at a time per key, and who is the control group."""

from datetime import timedelta
from hashlib import blake2b

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import ApiEntry, AudienceEntry, Campaign, CampaignSettings, ReEntry, TriggerEntry, When
from journey.draws import draw, drawn
from journey.entry import CANDIDATES, INSIDE, PASSED, allowance, candidates, judge, re_entry_rule

ENTRIES = {"audience": AudienceEntry(segment="loyal"), "trigger": TriggerEntry(event="bought"), "api": ApiEntry()}


def campaign(re_entry=None):
    rules = CampaignSettings(re_entry=re_entry)
    file = "campaigns/a.yaml"
    entries = tuple(ENTRIES.values())
    return Campaign(name="a", sender="main", entries=entries, settings=rules, steps={}, version="0" * 12, file=file)


# --- how often


@pytest.mark.parametrize(("kind", "rule"), [("audience", "once"), ("trigger", "always"), ("api", "always")])
def test_where_nothing_is_written_each_entry_has_its_own_rule(kind, rule):
    assert re_entry_rule(campaign(), ENTRIES[kind]) == rule


def test_a_scheduled_audience_passes_once_unless_something_is_written():
    for when in (When(at="2026-12-01 10:00"), When(cron="0 10 * * *")):
        assert re_entry_rule(campaign(), AudienceEntry(segment="loyal", when=when)) == "once"


@pytest.mark.parametrize("kind", ["audience", "trigger", "api"])
@pytest.mark.parametrize("rule", ["once", "always", ReEntry(times=2, per=timedelta(days=7))])
def test_a_written_rule_binds_every_entry(kind, rule):
    assert re_entry_rule(campaign(rule), ENTRIES[kind]) == rule


def test_a_rule_is_so_many_within_so_long():
    assert allowance("once") == (1, None)
    assert allowance("always") == (None, None)
    assert allowance(ReEntry(times=3, per=timedelta(days=2))) == (3, timedelta(days=2))


# --- who comes in


def people(*rows):
    """(contact, key, occurrence) rows."""
    listed = [{"place": 0, "contact_id": contact, "key": key, "occurrence": one} for contact, key, one in rows]
    return candidates(pl.DataFrame(listed))


def outcomes(rows, inside=(), passed=None, most=None, control=0.0):
    inside = pl.DataFrame(list(inside), schema=dict(INSIDE), orient="row")
    passed = pl.DataFrame(list((passed or {}).items()), schema=dict(PASSED), orient="row")
    judged = judge(rows, inside, passed, most, "a", control)
    assert dict(judged.schema) == dict(CANDIDATES)
    return judged["outcome"].to_list()


def test_a_contact_is_in_once_at_a_time_per_key():
    rows = people(("c1", "A", "e1"), ("c1", "B", "e2"), ("c1", "A", "e3"), ("c2", "A", "e4"))
    assert outcomes(rows) == ["entered", "entered", "already_in", "entered"]
    assert outcomes(rows, inside=[("c1", "B")]) == ["entered", "already_in", "already_in", "entered"]


def test_those_who_come_in_together_count_for_each_other():
    rows = people(("c1", "A", "e1"), ("c1", "B", "e2"), ("c1", "C", "e3"), ("c2", "A", "e4"))
    assert outcomes(rows, most=2) == ["entered", "entered", "re_entry", "entered"]
    assert outcomes(rows, most=2, passed={"c1": 1}) == ["entered", "re_entry", "re_entry", "entered"]


def test_what_is_settled_before_stays_and_stands_in_nobodys_way():
    rows = people(("c1", "", "e1"), ("c1", "", "e2")).with_columns(
        outcome=pl.Series(["too_old", None], dtype=pl.String)
    )
    assert outcomes(rows, most=1) == ["too_old", "entered"]


def test_someone_who_is_nobody_has_an_outcome_of_its_own():
    rows = people((None, "", "e1")).with_columns(outcome=pl.lit("refused"))
    assert outcomes(rows, most=1, control=0.5) == ["refused"]


def in_control(name):
    return draw("a", name) < 0.5


CONTROL = next(f"c{n}" for n in range(100) if in_control(f"c{n}"))
TREATED = next(f"c{n}" for n in range(100) if not in_control(f"c{n}"))


def test_the_control_group_is_in_nobodys_way_and_its_passages_count():
    rows = people((CONTROL, "", "e1"), (CONTROL, "", "e2"), (TREATED, "", "e3"), (TREATED, "", "e4"))
    assert outcomes(rows, control=0.5) == ["control", "control", "entered", "already_in"]
    assert outcomes(rows, control=0.5, most=1) == ["control", "re_entry", "entered", "already_in"]


def test_one_event_that_two_entries_take_is_one_passage_of_the_control_group():
    rows = people((CONTROL, "", "e1"), (CONTROL, "", "e1"))
    assert outcomes(rows, control=0.5) == ["control", "already_in"]


def reference(rows, inside, passed, most, control):
    """One after the other, as a person would do it."""
    inside, passed, seen, found = set(inside), dict(passed), set(), []
    for contact, key, occurrence in rows:
        is_control = control and in_control(contact)
        full = most is not None and passed.get(contact, 0) >= most
        again = is_control and (contact, key, occurrence) in seen
        if (contact, key) in inside or again:
            found.append("already_in")
        elif full:
            found.append("re_entry")
        else:
            passed[contact] = passed.get(contact, 0) + 1
            seen.add((contact, key, occurrence))
            if not is_control:
                inside.add((contact, key))
            found.append("control" if is_control else "entered")
    return found


WHO = st.sampled_from(["c1", "c2", "c3", CONTROL, TREATED])
KEYS = st.sampled_from(["", "A", "B"])


@given(
    rows=st.lists(st.tuples(WHO, KEYS, st.sampled_from(["e1", "e2", "e3", "e4", "e5"])), max_size=25),
    inside=st.sets(st.tuples(WHO, KEYS), max_size=4),
    passed=st.dictionaries(WHO, st.integers(0, 3)),
    most=st.sampled_from([None, 1, 2, 3]),
    control=st.sampled_from([0.0, 0.5]),
)
def test_together_they_come_in_as_one_after_the_other(rows, inside, passed, most, control):
    frame = people(*rows) if rows else candidates(pl.DataFrame(schema=dict(CANDIDATES)))
    assert outcomes(frame, inside, passed, most, control) == reference(rows, inside, passed, most, control)


# --- chance


def test_a_draw_is_a_hash_of_the_names_as_a_fraction():
    digest = blake2b(b"offer\x1fc1", digest_size=8).hexdigest()
    assert draw("offer", "c1") == int(digest, 16) / 2**64
    assert 0 <= draw("x") < 1


def test_a_share_of_people_is_drawn_and_it_is_the_same_people_each_time():
    ids = pl.Series([f"c{n}" for n in range(20_000)])
    first, other = drawn(0.05, ids, "offer"), drawn(0.05, ids, "another")
    assert abs(first.mean() - 0.05) < 0.01
    assert first.to_list() == drawn(0.05, ids, "offer").to_list()
    assert abs((first & other).mean() - 0.0025) < 0.002
    assert drawn(0.1, ids, "offer").filter(first).all()


def test_nobody_is_drawn_for_no_share_and_everybody_for_all():
    ids = pl.Series(["c1", None, "c2"])
    assert drawn(0.0, ids, "offer").to_list() == [False, None, False]
    assert drawn(1.0, ids, "offer").to_list() == [True, None, True]
