"""What nobody would see: texts of white space and of characters without a look of their own.

What belongs here: which characters these are, and whether a text has any other. For a column of texts `text` asks the
same.
"""

INVISIBLE = "".join(
    chr(code)
    for first, last in (
        (0x00AD, 0x00AD),  # soft hyphen
        (0x061C, 0x061C),  # marks of direction, here and below
        (0x180E, 0x180E),
        (0x200B, 0x200F),
        (0x202A, 0x202E),
        (0x2060, 0x206F),
        (0xFEFF, 0xFEFF),
    )
    for code in range(first, last + 1)
)
"""Characters that are no white space and take no room: zero-width spaces and joiners, marks of direction."""


def is_blank(text: str) -> bool:
    """Whether nobody would see anything of a text."""
    return all(one.isspace() or one in INVISIBLE for one in text)
