"""The next piece is made while the last one is put to use, and in their order."""

import threading

import pytest

from resources.ahead import ahead


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
