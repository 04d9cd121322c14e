"""Pacing: never more than the pace in any sliding second, and hardly less."""

from hypothesis import given
from hypothesis import strategies as st

from journey.pacing import FLOOR, MARGIN, Pacer, faster, lanes, slower


def most_in_a_window(times, window):
    most, start = 0, 0
    for end, time in enumerate(times):
        while times[start] <= time - window:
            start += 1
        most = max(most, end - start + 1)
    return most


@given(
    st.sampled_from([1, 3, 20, 80, 250, 1000]),
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.005, 0.03, 0.4, 1.3]), st.integers(0, 400)), max_size=150),
)
def test_no_sliding_second_ever_holds_more_than_the_pace(pace, asks):
    pacer, now, sent = Pacer(pace), 0.0, []
    for pause, waiting in asks:
        now += pause
        allowed = pacer.allow(now, waiting)
        assert 0 <= allowed <= waiting
        sent += [now] * allowed
    assert most_in_a_window(sent, MARGIN - 1e-9) <= pace


@given(st.sampled_from([2, 10, 80, 333, 1000]))
def test_a_backlog_leaves_at_nearly_the_pace_and_evenly(pace):
    pacer, sent = Pacer(pace), []
    for tick in range(2_000):  # ten seconds
        sent.append(pacer.allow(tick * 0.005, 10_000))
    assert sum(sent) >= pace * 10 / MARGIN * 0.97 - 1
    assert max(sent) <= max(1, round(pace * 0.05) + 1)


def test_the_pace_may_change_between_two_calls():
    pacer = Pacer(1000)
    for tick in range(400):
        pacer.allow(tick * 0.005, 100)
    pacer.pace = 10
    assert sum(pacer.allow(2 + tick * 0.005, 100) for tick in range(100)) == 0
    assert 18 <= sum(pacer.allow(4 + tick * 0.005, 100) for tick in range(400)) <= 21


def test_a_pace_below_one_a_second_is_kept():
    pacer = Pacer(0.5)
    sent = [now for now in range(40) if pacer.allow(float(now), 5)]
    assert most_in_a_window(sent, 2.0) == 1
    assert len(sent) >= 12


@given(st.floats(1, 2000), st.floats(1, 2000), st.floats(0, 10_000))
def test_a_slowed_pace_recovers_to_the_ceiling_and_never_beyond(pace, ceiling, seconds):
    assert slower(pace) >= FLOOR
    assert slower(pace) <= pace
    reached = faster(pace, ceiling, seconds)
    assert reached <= ceiling
    assert reached >= min(pace, ceiling)
    assert faster(pace, ceiling, 100) == ceiling


def test_it_recovers_a_twentieth_each_five_seconds():
    assert [faster(40, 80, seconds) for seconds in (0, 4.9, 5, 10, 50)] == [40, 40, 44, 48, 80]


def test_lanes_are_as_many_as_the_pace_needs_and_the_cores_allow():
    assert [lanes([80.0], 8), lanes([700.0], 8), lanes([701.0], 8), lanes([1000.0, 1000.0], 2), lanes([], 4)] == [
        1, 1, 2, 2, 1
    ]  # fmt: skip
