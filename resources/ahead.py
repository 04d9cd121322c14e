"""Ahead: the next piece of a long work is made ready while its last one is put to use.

What belongs here: that, in one thread beside. It is for what waits for the disk or works outside of Python (a file that
is written, a query that SQLite answers): two cores then share what one would do alone.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar, cast

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `make` gives for each item, in order. It is called in a thread of its own, for one item more than has been
    asked for; an error comes up where its item would."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        last: Future[Made] | None = None
        for item in items:
            now = thread.submit(make, item)
            if last is not None:
                yield last.result()
            last = now
        if last is not None:
            yield last.result()


def beside(items: Iterable[Made]) -> Iterator[Made]:
    """The items, in order; the next is always being made in a thread of its own."""
    source, end = iter(items), object()
    for made in ahead(lambda _: next(source, end), repeat(None)):
        if made is end:
            return
        yield cast(Made, made)
