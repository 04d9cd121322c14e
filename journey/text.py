"""The text rules of a variable: single spaces, case, fallback; and the two ways of escaping, for JSON and for URLs.

What belongs here: what is done to a column of text, all of it in Polars. How values of other types become text is
`formats`; where the texts go is `render`.

White space is what Python's `str.isspace` calls so: Unicode's White_Space and the separators U+001C to U+001F.

- Single spaces (Meta refuses new lines, tabs and runs): a run of two or more becomes one space, and so does a single
  line break, tab or other control. Any other single space stays what it is: the no-break space of "20 %" is good
  typography and Meta takes it. Nothing is stripped: a run at an end becomes one space there.
- Words are what white space separates. The two Capitalize cases put the first character of a word in full Unicode
  upper case (ß → SS) and leave the rest alone: an apostrophe, a hyphen or a digit begins no word ("o'neil" → "O'neil").
- A text is blank where nothing would be seen (`blank`): the fallback then serves, as written; a blank fallback is none.
"""

from collections.abc import Callable

import polars as pl

from journey.blank import INVISIBLE
from journey.words import Case

_SPACE = r"[\s\x1c-\x1f]"
_RUN_OR_BREAK = _SPACE + r"{2,}|[\t\n\x0b\x0c\r\x1c-\x1f\x{85}\x{2028}\x{2029}]"
_BLANK = r"^[\s\x1c-\x1f" + "".join(f"\\x{{{ord(one):x}}}" for one in INVISIBLE) + "]*$"
_MARK = "\n"  # cannot be in a text with single spaces; a tenth faster than what is no character at all
_NO_CHARACTER = "\ufdd0"

_JSON_ESCAPES = {"\\": "\\\\", '"': '\\"'} | {chr(code): f"\\u{code:04x}" for code in range(32)}

# RFC 3986: unreserved, reserved, and the sign of what is encoded already.
_NOT_OF_URLS = r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]"


def single_spaces(texts: pl.Expr) -> pl.Expr:
    """Text in which no white space follows another, and in which every break is a space."""
    return texts.str.replace_all(_RUN_OR_BREAK, " ")


def in_case(texts: pl.Expr, case: Case, *, single: bool = True) -> pl.Expr:
    """Text in one of the five cases. `single`: it has single spaces."""
    match case:
        case Case.UPPERCASE:
            return texts.str.to_uppercase()
        case Case.lowercase:
            return texts.str.to_lowercase()
        case Case.CapitalizeFirst:
            start = texts.str.extract(f"^({_SPACE}*)").str.len_chars() + 1
            return pl.concat_str(texts.str.slice(0, start).str.to_uppercase(), texts.str.slice(start))
        case Case.CapitalizeAllFirst:
            # Cut after each space; Polars' own to_titlecase also begins words at apostrophes, digits and accents that
            # stand for themselves, and lower-cases the rest. White space has no upper case.
            mark = _MARK if single else _NO_CHARACTER
            words = texts.str.replace_all(f"({_SPACE})", "${1}" + mark).str.split(mark)
            word = pl.element()
            return words.list.eval(word.str.slice(0, 1).str.to_uppercase() + word.str.slice(1)).list.join("")
        case Case.regular:
            return texts


def is_blank(texts: pl.Expr) -> pl.Expr:
    """Whether nothing would be seen. Null for null."""
    return texts.str.contains(_BLANK)


def settled(texts: pl.Expr, case: Case, fallback: str | None, *, single: bool = True) -> pl.Expr:
    """Single spaces (`single` False: spaces and lines as they are) → case → fallback; null where neither gives text."""
    cased = in_case(single_spaces(texts) if single else texts, case, single=single)
    spare = pl.lit(fallback, pl.String)
    return pl.when(is_blank(cased).fill_null(True)).then(pl.when(~is_blank(spare)).then(spare)).otherwise(cased)


def json_escaped(texts: pl.Expr) -> pl.Expr:
    """What stands between the quotes of a JSON string."""
    return texts.str.replace_many(list(_JSON_ESCAPES), list(_JSON_ESCAPES.values()))


def percent_encoded(texts: pl.Series) -> pl.Series:
    """Text for a URL: what is not legal there becomes the `%XX` of its UTF-8 bytes.

    Legal is what RFC 3986 calls unreserved or reserved (`/?#&=` and their like keep their meaning) and `%` before two
    hexadecimal digits, so that an encoded value stays as it is.
    """
    found = texts.str.extract_all(_NOT_OF_URLS).explode().unique().drop_nulls().to_list()
    if found:
        texts = texts.str.replace_many(found, ["".join(f"%{byte:02X}" for byte in one.encode()) for one in found])
    if texts.str.contains("%", literal=True).any():
        escape = texts.str.replace_all("%([0-9A-Fa-f]{2})", "\x00${1}")
        texts = escape.str.replace_all("%", "%25", literal=True).str.replace_all("\x00", "%", literal=True)
    return texts


def by_distinct(texts: pl.Series, transform: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """`transform`, row by row of the result as if of all texts, and computed once a distinct text where many repeat.

    On names, cities and products this is twice as fast as the whole column; on ids, which hardly repeat, the look-up
    would cost more than it saves. About how many there are is known in a tenth of the time of counting them.
    """
    if texts.to_frame().select(pl.all().approx_n_unique()).item() > len(texts) // 2:
        return transform(texts)
    values = texts.unique()
    known = values.drop_nulls()
    codes = texts.cast(pl.Enum(known)).to_physical().cast(pl.UInt32).fill_null(len(known))
    return transform(pl.concat([known, pl.Series(known.name, [None], pl.String)]))[codes]
