"""Variables: where a placeholder's value comes from and how it is written.

What belongs here: the model of one variable. How a column of values becomes text is `formats` and `text`; how a file
spells a variable is `language`.
"""

from dataclasses import dataclass
from typing import Literal

from journey.words import Case

Source = Literal["user", "event", "text"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: value → format → single spaces → case → fallback.

    `source` and `name`: a property of the contact (`user`; also contact_id, phone, locale), a property of what brought
    the contact in (`event`, nested by dots), or a constant (`text`; `name` is the text itself). `format` is a number of
    decimals or a strftime-like date pattern; `timezone` an IANA name for times. `fallback` is used as written where the
    value is null or blank; None means that there is none.
    """

    source: Source
    name: str
    case: Case = Case.regular
    format: int | str | None = None
    timezone: str | None = None
    fallback: str | None = None
