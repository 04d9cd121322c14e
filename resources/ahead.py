"""Ahead: the next piece of a long work is made ready while its last one is put to use.

What belongs here: that, in one thread beside. It is for what waits for the disk or works outside of Python (a file that
is written, a query that SQLite answers): two cores then share what one would do alone.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class _End:
    error: BaseException | None


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


def gathered(items: Iterable[Made], most: int) -> Iterator[list[Made]]:
    """The items, in order, in lists: all that were made in a thread of its own while the last list was put to use, at
    most so many. Whoever is slow gets more at once; whoever waits gets each as it comes. An error comes up where its
    item would."""
    queue: Queue[Made | _End] = Queue(most)
    over = Event()

    def hand_over(item: Made | _End) -> None:
        while not over.is_set():
            with suppress(Full):
                return queue.put(item, timeout=0.1)

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                hand_over(item)
                if over.is_set():
                    return
        except BaseException as raised:
            error = raised
        hand_over(_End(error))

    with ThreadPoolExecutor(1, thread_name_prefix="gathered") as thread:
        thread.submit(make)
        try:
            while True:
                found = [queue.get()]
                with suppress(Empty):
                    while len(found) < most and not isinstance(found[-1], _End):
                        found.append(queue.get_nowait())
                end = found[-1] if isinstance(found[-1], _End) else None
                if made := [one for one in found if not isinstance(one, _End)]:
                    yield made
                if end is not None:
                    if end.error is not None:
                        raise end.error
                    return
        finally:
            over.set()
