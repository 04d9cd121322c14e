"""What was imported is left alone by Python's collector for as long as somebody works, and not after."""

import gc

import pytest

from resources.unswept import unswept


def test_what_is_there_is_left_alone_until_the_end_also_of_work_that_fails():
    before = gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), unswept():
        assert gc.get_freeze_count() > before + 1_000
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0
