"""Draws: chance that is the same for ever, by a hash of who and what it is about.

What belongs here: the one way in which a share of people is drawn (control groups, the holdout, arms of experiments).
A draw takes names joined by U+001F, e.g. a campaign and a contact: the same names draw the same number in every
installation and every run, and nothing need be written down.
"""

from hashlib import blake2b

import polars as pl

_SEPARATOR = "\x1f"
_WHOLE = 2.0**64


def draw(*names: str) -> float:
    """The number in [0, 1) of these names: blake2b with 64 bits over their UTF-8, as a fraction of 2^64."""
    text = _SEPARATOR.join(names).encode("utf-8", "surrogatepass")
    return min(int.from_bytes(blake2b(text, digest_size=8).digest(), "big") / _WHOLE, 1.0 - 2.0**-53)


def drawn(share: float, contact_ids: pl.Series, *names: str) -> pl.Series:
    """Which contacts are among `share` (0.05: 5 %) of all: those whose draw of (`names`, contact) is below it.

    Boolean, null where the contact is. A microsecond a contact; nothing where the share is 0.
    """
    if share <= 0:
        return pl.select(pl.when(contact_ids.is_not_null()).then(False)).to_series().alias("drawn")
    below = [None if one is None else draw(*names, one) < share for one in contact_ids.to_list()]
    return pl.Series("drawn", below, pl.Boolean)
