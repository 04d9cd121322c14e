"""The next piece is made while the last one is put to use, and in their order."""

import threading
import time

import pytest

from resources.ahead import ahead, gathered


def test_pieces_come_in_their_order_each_once():
    assert list(ahead(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
    assert list(ahead(str, [])) == []


def test_the_next_piece_is_made_while_the_last_is_put_to_use():
    second = threading.Event()

    def make(n):
        if n == 1:
            second.set()
        return n

    pieces = ahead(make, range(3))
    assert next(pieces) == 0
    assert second.wait(10)
    assert list(pieces) == [1, 2]


def test_an_error_comes_up_where_its_piece_would():
    pieces = ahead(lambda n: 10 // (2 - n), range(4))
    assert [next(pieces), next(pieces)] == [5, 10]
    with pytest.raises(ZeroDivisionError):
        next(pieces)


def test_who_is_slow_gets_all_that_was_made_meanwhile_but_no_more_than_asked_for():
    made = threading.Event()

    def items():
        yield from range(3)
        made.set()
        yield from range(3, 9)

    lists = gathered(items(), 3)
    found = [next(lists)]
    assert made.wait(10)
    time.sleep(0.3)  # the rest is there, as far as there is room
    found += list(lists)
    assert [item for some in found for item in some] == list(range(9))
    assert max(len(one) for one in found) == 3
    assert list(gathered([], 3)) == []


def test_what_was_made_before_an_error_comes_before_it():
    def items():
        yield 1
        yield 2
        raise ZeroDivisionError

    found = []
    with pytest.raises(ZeroDivisionError):
        for some in gathered(items(), 8):
            found += some
    assert found == [1, 2]


def test_who_goes_away_leaves_nobody_at_work():
    made = []

    def items():
        for n in range(1_000_000):
            made.append(n)
            yield n

    for _ in gathered(items(), 2):
        break
    before = len(made)
    time.sleep(0.3)
    assert before == len(made) < 20
