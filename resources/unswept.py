"""Long work without Python's full collections: they would look again and again at all that was imported.

What belongs here: that, for whoever works long in a process (a pass, a lane).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unswept() -> Iterator[None]:
    """What is there now is left alone by the collector until the end.

    With Dagster, Polars and DuckDB loaded that is half a million objects: a full collection takes 100 ms, in which
    nothing is sent, and there are so many of them that a million statuses took a sixth longer.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # at its end Python tells of everything that DuckDB has left frozen
