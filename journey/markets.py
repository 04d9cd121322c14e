"""Markets: which row of a rate card a phone belongs to.

What belongs here: calling codes → Meta's markets, longest first. Meta charges by the recipient's calling code: a market
of its own for some countries, a region for most, `Other` for the rest. A country that is a market of its own only since
lately (or will be) is named with its region behind it, so that older and newer cards both work.

+1 is North America but for the Caribbean numbers that Meta counts to Latin America; +7 is Russia's and Kazakhstan's.
"""

import phonenumbers
import polars as pl

OTHER = "Other"
ANY = "*"
"""A row of a rate card for every market that has none of its own; `Other` is taken for the same."""

_AFRICA = "Rest of Africa"
_ASIA = "Rest of Asia Pacific"
_EAST = "Rest of Central & Eastern Europe"
_WEST = "Rest of Western Europe"
_LATIN = "Rest of Latin America"
_MIDDLE = "Rest of Middle East"

_COUNTRIES: tuple[tuple[str, str, str | None], ...] = (
    ("1", "North America", None),
    ("7", "Russia", None),
    ("76", "Kazakhstan", "Russia"),
    ("77", "Kazakhstan", "Russia"),
    ("20", "Egypt", None),
    ("27", "South Africa", None),
    ("31", "Netherlands", None),
    ("33", "France", None),
    ("34", "Spain", None),
    ("36", "Hungary", _EAST),
    ("39", "Italy", None),
    ("40", "Romania", _EAST),
    ("44", "United Kingdom", None),
    ("48", "Poland", _EAST),
    ("49", "Germany", None),
    ("51", "Peru", _LATIN),
    ("52", "Mexico", None),
    ("54", "Argentina", None),
    ("55", "Brazil", None),
    ("56", "Chile", None),
    ("57", "Colombia", None),
    ("60", "Malaysia", None),
    ("62", "Indonesia", None),
    ("65", "Singapore", _ASIA),
    ("90", "Turkey", None),
    ("91", "India", None),
    ("92", "Pakistan", None),
    ("94", "Sri Lanka", _ASIA),
    ("212", "Morocco", _AFRICA),
    ("234", "Nigeria", None),
    ("380", "Ukraine", _EAST),
    ("852", "Hong Kong", _ASIA),
    ("880", "Bangladesh", _ASIA),
    ("964", "Iraq", _MIDDLE),
    ("965", "Kuwait", _MIDDLE),
    ("966", "Saudi Arabia", None),
    ("968", "Oman", _MIDDLE),
    ("971", "United Arab Emirates", None),
    ("972", "Israel", None),
    ("974", "Qatar", _MIDDLE),
    ("977", "Nepal", _ASIA),
)
_REGIONS = {
    _AFRICA: "211 213 216 218 220 221 222 223 225 226 227 228 229 231 232 233 235 237 241 242 244 245 250 251 252 254"
    " 255 256 257 258 260 261 264 265 266 267 268 291",
    _ASIA: "61 63 64 66 675 81 84 855 856 86 886 93 976 992 993 998",
    _EAST: "30 355 359 370 371 373 374 375 381 385 386 389 420 421 994 995",
    _WEST: "32 351 353 358 41 43 45 46 47",
    _LATIN: "58 502 503 504 505 506 507 509 591 593 595 598 1658 1787 1809 1829 1849 1876 1939",
    _MIDDLE: "961 962 967 973",
}
#: Calling code → the markets it may be counted to, the narrowest first
CODES: dict[str, tuple[str, ...]] = {
    **{code: tuple(one for one in (name, region) if one) for code, name, region in _COUNTRIES},
    **{code: (region,) for region, codes in _REGIONS.items() for code in codes.split()},
}
_LONGEST = max(len(code) for code in CODES)


def code_of(phone: str) -> str | None:
    """The longest known calling code that a phone (E.164) begins with; None where none is known."""
    digits = phone.lstrip("+")
    return next((digits[:n] for n in range(_LONGEST, 0, -1) if digits[:n] in CODES), None)


def code_of_region(region: str) -> str | None:
    """The calling code of a country (ISO 3166); None where none is known."""
    return code_of(str(phonenumbers.country_code_for_region(region)))


def markets_of(code: str | None) -> tuple[str, ...]:
    """The markets of a calling code, the narrowest first; `Other` where it has none."""
    return CODES.get(code, (OTHER,)) if code is not None else (OTHER,)


def codes_of(phones: pl.Series) -> pl.Series:
    """`code_of`, row by row: each distinct beginning is looked up once."""
    beginnings = phones.str.slice(0, _LONGEST + 1)
    known = {text: code_of(text) for text in beginnings.drop_nulls().unique()}
    return beginnings.replace_strict(known, default=None, return_dtype=pl.String).alias("code")
