"""SIGINT and SIGTERM, owned for a while: whoever sends or waits decides where to stop.

What belongs here: the handlers. Left to Dagster, an interrupt lands in one random message and sending goes on for
seconds, or is kept back until a long wait is over (measured).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

OWNED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals(stop: threading.Event) -> Iterator[threading.Event]:
    """Within the block a signal sets `stop` and nothing else. Gives the event that says whether one came.

    Outside the main thread there are no signals to own.
    """
    came = threading.Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        came.set()
        stop.set()

    with kept():
        if threading.current_thread() is threading.main_thread():
            for number in OWNED:
                signal.signal(number, handler)
        yield came


@contextmanager
def kept() -> Iterator[None]:
    """Whatever the block does with the handlers, they are the caller's again at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in OWNED}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
