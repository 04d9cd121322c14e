"""Growth: an audience so much larger than its last ones that somebody should say yes to it first.

What belongs here: the decision and its sentence. It is `stop_if.audience_grows`: ten times yesterday's is more often a
segment that lost its condition than a good day.
"""

from collections.abc import Sequence
from statistics import median

LAST = 7
"""So many of the campaign's last occurrences say what is usual."""

LEAST = 1_000
"""People more than usual at least: of ten people instead of one nobody need be asked."""


def outgrown(size: int, earlier: Sequence[int], times: float | None) -> str | None:
    """Why an audience of `size` needs a yes; None where it does not. `earlier`: the sizes of the last occurrences, none
    of which is no measure. `times` None: it never does."""
    if times is None or not earlier:
        return None
    usual = int(median(earlier))
    if size <= times * usual or size - usual < LEAST:
        return None
    last = f"the median of the last {len(earlier)}" if len(earlier) > 1 else "the last one"
    return (
        f"an audience of {size:,} is more than {times:g} times as large as usual ({usual:,}, {last};"
        " stop_if.audience_grows)"
    )
