"""How a column of values of any type becomes a column of text: plain, with decimals, or by a date pattern.

What belongs here: `written`, the first link of value → format → single spaces → case → fallback; the rest is `text`,
dates and times are `dates`. A value that its format cannot read becomes null, so that the fallback serves.

Without a format: integers without a point; decimals in their shortest form and without an exponent (1.5, and 15 for
15.0; NaN and infinities are no numbers: null); `true` and `false`; dates and times in ISO 8601, with their offset where
they have one; lists with `, ` between their elements; objects as JSON; text as it is.

With decimals: numbers, and text that spells one with a decimal point (a comma is not read: 1,234 is two numbers, one
English and one French). Rounded half away from zero on the decimal digits as written (2.675 → 2.68, as a reader
expects; its binary neighbour would give 2.67), with the decimal sign of the language, without grouping.
"""

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from json import dumps

import polars as pl

from journey.dates import Zones, with_date_pattern
from journey.locales import decimal_sign

MOST_DECIMALS = 10

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
# What has at most 19 digits before and 18 after the point is rounded in Polars, the rest one by one in Python.
_WIDE = pl.Decimal(38, 18)
_FITS = r"^[+-]?[0-9]{0,19}(\.[0-9]{0,18})?$"
_EXACT = Context(prec=3000, rounding=ROUND_HALF_UP)


def written(values: pl.Series, form: int | str | None, language: str, zones: Zones) -> pl.Series:
    """The values as text (String, same length), null where there is none or where it cannot be read.

    `form` is a number of decimals, a date pattern, or None. Raises ValueError on a pattern of which
    `dates.date_pattern_problem` complains and on more than MOST_DECIMALS decimals.
    """
    if values.dtype == pl.Object:
        values = pl.Series(values.name, [_text(value) for value in values], pl.String)
    if form is None:
        return plain(values)
    if isinstance(form, int):
        return with_decimals(values, form, language)
    return with_date_pattern(values, form, language, zones)


def plain(values: pl.Series) -> pl.Series:
    """Text without a format. See the module."""
    dtype = values.dtype
    if dtype.is_float():
        return _floats(values)
    if dtype.is_decimal():
        return _select(values.cast(pl.String), lambda x: pl.when(_has_point(x)).then(_trimmed(x)).otherwise(x))
    if isinstance(dtype, pl.Datetime):
        offset = "" if dtype.time_zone is None else "%:z"
        whole = values.dt.strftime(f"%Y-%m-%dT%H:%M:%S{offset}")
        fine = values.dt.microsecond() != 0
        if not fine.any():
            return whole
        return values.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.6f{offset}").zip_with(fine.fill_null(False), whole)
    if dtype == pl.Duration:
        return values.dt.to_string("iso")
    if isinstance(dtype, pl.Array):
        return plain(values.cast(pl.List(dtype.inner)))
    if dtype == pl.List:
        rows = values.alias("element").to_frame().with_row_index()
        elements = rows.explode("element")
        elements = elements.with_columns(plain(elements["element"]).alias("element")).drop_nulls()
        texts = elements.group_by("index", maintain_order=True).agg(pl.col("element").str.join(", "))
        return rows.select("index").join(texts, on="index", how="left", maintain_order="left")["element"]
    if dtype == pl.Struct:
        return _select(values, lambda x: pl.when(x.is_not_null()).then(x.struct.json_encode()))
    if dtype == pl.Binary:
        return _nothing(values)
    return values.cast(pl.String)


def with_decimals(values: pl.Series, decimals: int, language: str) -> pl.Series:
    """Numbers with so many decimals; null where the value is no number."""
    if not 0 <= decimals <= MOST_DECIMALS:
        raise ValueError(f"a number has 0 to {MOST_DECIMALS} decimals, not {decimals}")
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Categorical, pl.Enum)):
        return _nothing(values)
    digits = _select(plain(values).str.strip_chars(), lambda x: pl.when(x.str.contains(_NUMBER)).then(x))
    rounded = _select(digits, lambda x: pl.when(x.str.contains(_FITS)).then(x)).cast(_WIDE, strict=False)
    rounded = rounded.round(decimals, mode="half_away_from_zero").cast(pl.Decimal(38, decimals)).cast(pl.String)
    left = digits.filter(rounded.is_null() & digits.is_not_null()).unique()
    if len(left):
        one_by_one = digits.replace_strict(left, [_rounded(one, decimals) for one in left], default=None)
        rounded = rounded.zip_with(rounded.is_not_null(), one_by_one)
    return rounded.str.replace(".", decimal_sign(language), literal=True).alias(values.name)


def _nothing(values: pl.Series) -> pl.Series:
    return pl.Series(values.name, [None], pl.String).new_from_index(0, len(values))


def _floats(values: pl.Series) -> pl.Series:
    finite = _select(values, lambda x: pl.when(x.is_finite()).then(x)).cast(pl.String)
    digits = finite.str.strip_suffix(".0")
    odd = digits.filter(digits.str.contains("e", literal=True) | (digits == "-0")).unique().drop_nulls()
    return digits.replace(odd, ["0" if one == "-0" else _without_exponent(Decimal(one)) for one in odd])


def _text(value: object) -> str | None:
    """One value of a column of Python objects (mixed JSON values, which Polars cannot hold otherwise)."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case float() | Decimal():
            number = Decimal(repr(value)) if isinstance(value, float) else value
            return _without_exponent(number) if number.is_finite() else None
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return ", ".join(text for one in value if (text := _text(one)) is not None)
        case dict():
            return dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def _without_exponent(number: Decimal) -> str:
    text = f"{number:f}"
    text = text.rstrip("0").removesuffix(".") if "." in text else text
    return "0" if text == "-0" else text


def _rounded(digits: str, decimals: int) -> str:
    number = Decimal(digits).quantize(Decimal(1).scaleb(-decimals), context=_EXACT)
    return f"{abs(number) if number.is_zero() else number:f}"


def _has_point(digits: pl.Expr) -> pl.Expr:
    return digits.str.contains(".", literal=True)


def _trimmed(digits: pl.Expr) -> pl.Expr:
    return digits.str.strip_chars_end("0").str.strip_suffix(".")


def _select(values: pl.Series, expression: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    return values.alias("x").to_frame().select(expression(pl.col("x")).alias(values.name)).to_series()
