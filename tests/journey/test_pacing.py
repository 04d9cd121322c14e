"""Pacing: never more than the pace in any sliding second, and hardly less."""

from hypothesis import given
from hypothesis import strategies as st

from journey.pacing import FLOOR, LATE, WINDOW, Pacer, faster, lanes, slower


def most_in_a_window(times, window):
    most, start = 0, 0
    for end, time in enumerate(times):
        while times[start] <= time - window:
            start += 1
        most = max(most, end - start + 1)
    return most


def let_go(pacer, now, waiting):
    """What is allowed leaves at once; gives how many."""
    allowed = pacer.allow(now, waiting)
    for _ in range(allowed):
        pacer.answered(pacer.left(now), now)
    return allowed


@given(
    st.sampled_from([1, 3, 20, 80, 250, 1000]),
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.005, 0.03, 0.4, 1.3]), st.integers(0, 400)), max_size=150),
)
def test_no_sliding_second_ever_holds_more_than_the_pace(pace, asks):
    pacer, now, sent = Pacer(pace), 0.0, []
    for pause, waiting in asks:
        now += pause
        allowed = let_go(pacer, now, waiting)
        assert 0 <= allowed <= waiting
        sent += [now] * allowed
    assert most_in_a_window(sent, WINDOW - 1e-9) <= pace


@given(
    st.sampled_from([3, 20, 80]),
    st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.3), st.floats(0, LATE)), min_size=100, max_size=400),
)
def test_nor_where_they_are_written_late_and_come_later_still_as_their_answers_show(pace, steps):
    """Each is written some time after it was allowed, and arrives as much later as its answer comes late."""
    pacer, now, going, asked, came = Pacer(pace), 0.0, [], [], []
    pacer.answered(pacer.left(-10.0), -9.8) if pacer.allow(-10.0, 1) else None  # the quickest answer: 0.2 s
    for pause, until_written, late in steps:
        now += pause
        for at, later in [one for one in sorted(going) if one[0] <= now]:
            going.remove((at, later))
            asked.append((at + 0.2 + later, pacer.left(at)))
            came.append(at + later)
        for at, leave in [one for one in sorted(asked, key=lambda one: one[0]) if one[0] <= now]:
            asked.remove((at, leave))
            pacer.answered(leave, at)
        going += [(now + until_written, late)] * pacer.allow(now, 100)
    assert most_in_a_window(sorted(came), 1.0) <= pace


def test_what_was_really_written_later_counts_from_then():
    pacer = Pacer(1)
    assert pacer.allow(0.0, 5) == 1
    leave = pacer.left(0.0)
    leave.at = 0.5
    pacer.answered(leave, 0.7)
    assert pacer.allow(1.2, 5) == 0
    assert pacer.allow(0.5 + WINDOW, 5) == 1


def test_what_never_left_gives_its_place_back():
    pacer = Pacer(1)
    assert pacer.allow(0.0, 5) == 1
    assert pacer.allow(5.0, 5) == 0
    pacer.withdrawn()
    assert pacer.allow(5.1, 5) == 1


def test_slow_answers_alone_cost_at_most_what_may_be_lateness():
    pacer, sent, asked = Pacer(100), 0, []
    for tick in range(4_000):  # twenty seconds; each third answer takes half a second more
        now = tick * 0.005
        while asked and asked[0][0] <= now:
            pacer.answered(asked.pop(0)[1], now)
        for _ in range(pacer.allow(now, 1_000)):
            sent += 1
            asked.append((now + (0.7 if sent % 3 == 0 else 0.2), pacer.left(now)))
            asked.sort(key=lambda one: one[0])
    assert sent >= 20 * 100 / (WINDOW + LATE) * 0.99


def test_what_was_gone_late_does_not_make_all_others_seem_late():
    """One was certainly gone only 50 ms after its writing, and its answer seems quick: nobody pays for that."""
    pacer, sent, asked = Pacer(1000), 0, []
    for tick in range(2_000):  # five seconds
        now = tick * 0.0025
        while asked and asked[0][0] <= now:
            pacer.answered(asked.pop(0)[1], now)
        for _ in range(pacer.allow(now, 1_000)):
            leave = pacer.left(now)
            leave.at = now + (0.05 if sent == 0 else 0.0)
            sent += 1
            asked.append((now + 0.2, leave))
    assert sent >= 5 * 1000 / WINDOW * 0.985


@given(st.sampled_from([2, 10, 80, 333, 1000]))
def test_a_backlog_leaves_at_nearly_the_pace_and_evenly(pace):
    pacer, sent = Pacer(pace), []
    for tick in range(4_000):  # ten seconds
        sent.append(let_go(pacer, tick * 0.0025, 10_000))
    assert sum(sent) >= pace * 10 / WINDOW * 0.985 - 1
    assert max(sent) <= max(1, round(pace * 0.05) + 1)


def test_a_process_that_stood_still_for_a_moment_catches_up() -> None:
    pacer, sent, now = Pacer(1000), 0, 0.0
    for tick in range(2_000):
        now += 0.095 if tick % 100 == 50 else 0.005  # every half second or so it stands still
        sent += let_go(pacer, now, 10_000)
    assert sent >= 1000 * now / WINDOW * 0.96


def test_the_pace_may_change_between_two_calls():
    pacer = Pacer(1000)
    for tick in range(400):
        let_go(pacer, tick * 0.005, 100)
    pacer.pace = 10
    assert sum(let_go(pacer, 2 + tick * 0.005, 100) for tick in range(100)) == 0
    assert 18 <= sum(let_go(pacer, 4 + tick * 0.005, 100) for tick in range(400)) <= 21


def test_a_pace_below_one_a_second_is_kept():
    pacer = Pacer(0.5)
    sent = [now for now in range(40) if let_go(pacer, float(now), 5)]
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


def test_processes_are_as_many_as_the_pace_needs_and_the_cores_allow():
    assert [lanes([80.0], 8), lanes([1000.0], 8), lanes([1001.0], 8), lanes([1000.0] * 5, 2), lanes([], 4)] == [
        1, 1, 2, 2, 1
    ]  # fmt: skip
