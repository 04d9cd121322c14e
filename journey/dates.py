"""Dates and times by a pattern, in a language and a zone.

What belongs here: reading dates and times of any type, the zone in which they are shown, and the pattern. The rest of
the text rules is `formats` and `text`.

Read are dates, times, and text in ISO 8601 (`2026-12-24`, `2026-12-24T09:00:00+01:00`, also with a space for the T).
A time is shown in the first zone that applies: the variable's; the offset that it was written with (`Z` is the offset
0); the contact's; the default. A time written without an offset is the contact's civil time (an appointment at ten is
at ten where they live; `delay` reads it the same way), or the default zone's where theirs is not known; a typed column
of instants has lost its offset. A date without a time of day is never moved; with %H it is midnight.
"""

import re
from functools import lru_cache

import polars as pl

from journey.civil import to_instants
from journey.locales import date_names

# Directives that Polars and Python spell alike; `-` drops the leading zero. Names of months and weekdays are ours.
_DIRECTIVE = re.compile(r"%(-?.)?", re.DOTALL)
_TIME_OF_DAY = frozenset("HIMSpTR%")
_NAMES = frozenset("AaBb")
_KNOWN = _TIME_OF_DAY | _NAMES | frozenset("demyYjFDuwUWVG")
_UNPADDED = frozenset("demHIMSj")

_ISO = (
    r"^\s*(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ](?<minute>[0-9]{2}:[0-9]{2})(?::(?<second>[0-5][0-9])"
    r"(?:[.,](?<fraction>[0-9]{1,9}))?)?\s?(?<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?\s*$"
)
_CIVIL = pl.Datetime("us")  # what a clock on the wall shows
_INSTANT = pl.Datetime("us", "UTC")


class Zones:
    """The zones in which times are shown: a variable's, the contacts' (one a row), the default; all IANA names.

    Raises ValueError where the variable's or the default is not known. A contact's that is not known counts as none.
    """

    def __init__(self, of_variable: str | None = None, contacts: pl.Series | None = None, default: str = "UTC") -> None:
        for name in (of_variable, default):
            if name is not None and not usable_zone(name):
                raise ValueError(f"{name} is not a time zone")
        self.of_variable, self.default = of_variable, default
        self._contacts = contacts

    def of_rows(self, length: int) -> str | pl.Series:
        """The zone for what has none of its own: one for all, or one a row."""
        if self.of_variable is not None:
            return self.of_variable
        if self._contacts is None or self._contacts.null_count() == len(self._contacts):
            return self.default
        return self.of_contacts(length)

    def of_contacts(self, length: int) -> pl.Series:
        """Each contact's own zone, the default where there is none."""
        if self._contacts is None:
            return pl.Series([self.default], dtype=pl.String).new_from_index(0, length)
        names = self._contacts.cast(pl.String)
        unusable = [name for name in names.unique().drop_nulls() if not usable_zone(name)]
        return names.replace(unusable, [self.default] * len(unusable)).fill_null(self.default)


@lru_cache(maxsize=2048)
def usable_zone(name: str) -> bool:
    """Whether Polars knows the zone. One unknown name would raise for the whole column."""
    try:
        pl.Series([0]).cast(_INSTANT).dt.convert_time_zone(name)
    except pl.exceptions.PolarsError:
        return False
    return True


def date_pattern_problem(pattern: str) -> str | None:
    """What is wrong with a date pattern, in words; None where nothing is."""
    for code in _DIRECTIVE.findall(pattern):
        if not code:
            return f"the date pattern “{pattern}” ends in a lone %; a percent sign is %%"
        letter = code.removeprefix("-")
        if letter not in _KNOWN or (letter != code and letter not in _UNPADDED):
            return f"the date pattern “{pattern}” has %{code}, which is not known"
    return None


def with_date_pattern(values: pl.Series, pattern: str, language: str, zones: Zones) -> pl.Series:
    """The values (any type) by the pattern, with the language's names; null where one is no date or time.

    Raises ValueError on a pattern of which `date_pattern_problem` complains.
    """
    problem = date_pattern_problem(pattern)
    if problem is not None:
        raise ValueError(problem)
    times = _civil_times(values, pattern, zones).alias("time").to_frame()
    return times.select(_by_pattern(pl.col("time"), pattern, language).alias(values.name)).to_series()


def _by_pattern(times: pl.Expr, pattern: str, language: str) -> pl.Expr:
    """The pattern cut at the names of months and weekdays, which Polars has in English only."""
    names = date_names(language)
    words = {"%A": names.days, "%a": names.short_days, "%B": names.months, "%b": names.short_months}
    pieces: list[pl.Expr] = []
    rest = ""
    for part in [*re.split(r"(%-?.)", pattern, flags=re.DOTALL), None]:
        if part is not None and part not in words:
            rest += part
            continue
        if rest:
            pieces.append(times.dt.strftime(rest))
            rest = ""
        if part is not None:
            number = times.dt.month() if len(words[part]) == 12 else times.dt.weekday()
            numbers = list(range(1, len(words[part]) + 1))
            pieces.append(number.replace_strict(numbers, words[part], return_dtype=pl.String))
    return pl.concat_str(pieces)


def _civil_times(values: pl.Series, pattern: str, zones: Zones) -> pl.Series:
    """Each value as what the clock on the wall is to show, null where it cannot be read."""
    dtype = values.dtype
    if dtype == pl.Date:
        return values.cast(_CIVIL)
    if isinstance(dtype, pl.Datetime):
        civil = values.cast(pl.Datetime("us", dtype.time_zone))
        if dtype.time_zone is None:
            return _moved(civil, zones)
        return _in_zone(civil.dt.convert_time_zone("UTC"), zones.of_rows(len(values)))
    if dtype == pl.Time and {code.removeprefix("-") for code in _DIRECTIVE.findall(pattern)} <= _TIME_OF_DAY:
        return (values.cast(pl.Int64) // 1000).cast(_CIVIL)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _read(values.cast(pl.String), zones)
    return pl.Series([None], dtype=_CIVIL).new_from_index(0, len(values))


def _read(texts: pl.Series, zones: Zones) -> pl.Series:
    """ISO 8601 text as civil times."""
    part = texts.str.extract_groups(_ISO).struct.unnest()
    clock = pl.concat_str(
        pl.col("date"),
        pl.lit("T"),
        pl.col("minute").fill_null("00:00"),
        pl.lit(":"),
        pl.col("second").fill_null("00"),
        pl.lit("."),
        pl.col("fraction").fill_null("0").str.slice(0, 6),
    )
    digits = pl.col("offset").str.replace_all("[^0-9]", "").str.pad_end(4, "0")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(pl.Int64)
    read = part.select(
        clock.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).alias("civil"),
        pl.when(pl.col("offset").str.starts_with("-")).then(-minutes).otherwise(minutes).alias("offset"),
        pl.col("minute").is_not_null().alias("timed"),
    )
    civil, offset = read["civil"], read["offset"]
    if zones.of_variable is None:
        return civil.zip_with(offset.is_not_null() | ~read["timed"], _moved(civil, zones))
    instants = read.select((pl.col("civil") - pl.duration(minutes="offset")).dt.replace_time_zone("UTC")).to_series()
    by_offset = _in_zone(instants, zones.of_variable)
    shown = by_offset.zip_with(offset.is_not_null(), _moved(civil, zones))
    return shown.zip_with(read["timed"], civil)


def _moved(civil: pl.Series, zones: Zones) -> pl.Series:
    """Times without an offset: what clocks show where the contact is; another only where the variable has a zone."""
    if zones.of_variable is None:
        return civil
    return _in_zone(to_instants(civil.cast(_CIVIL), zones.of_contacts(len(civil))), zones.of_variable)


def _in_zone(instants: pl.Series, zones: str | pl.Series) -> pl.Series:
    """Instants (UTC) as civil times of one zone, or of each row's."""
    if isinstance(zones, str):
        return instants.dt.convert_time_zone(zones).dt.replace_time_zone(None)
    rows = pl.DataFrame({"instant": instants, "zone": zones}).with_row_index()
    parts = [
        part.select("index", _in_zone(part["instant"], part["zone"][0]).alias("civil"))
        for part in rows.partition_by("zone")
    ]
    return pl.concat(parts).sort("index")["civil"] if parts else pl.Series([], dtype=_CIVIL)
