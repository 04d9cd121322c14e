"""Foreign bytes for fuzzing: real examples, spoilt in every way that a disk, a spreadsheet or somebody with bad intent
spoils them, and bytes that were never anything."""

from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS: Sequence[bytes] = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\r", b"\n", b"\r\n", b"\t", b'"', b"'",
    b"{", b"}", b"[", b"]" * 50, b"[" * 2_000, b'{"a":' * 2_000, b",", b";", b":", b"null", b"NaN", b"1e999", b"-0",
    b"9" * 400, b"true", b"&a [*a,*a]", b"*a", b"!!python/object", b"---\n", b"${jndi}", b"../../etc/passwd",
    b"=cmd|' /C calc'!A0", b"<script>", "\u202e\u0000é😀".encode(), b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z",
    b"2026-13-45", b"+33612345678", b"a" * 70_000, b"%", b"{{1}}", b"{{", b"9223372036854775808", b"-1",
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with up to six wounds: cut, doubled, filled with something else, a byte changed, its end missing."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(("cut", "double", "put", "over", "flip", "end", "bytes")))
        if kind == "cut":
            data = data[:start] + data[end:]
        elif kind == "double":
            data = data[:end] + data[start:end] * draw(st.integers(1, 5)) + data[end:]
        elif kind == "put":
            data = data[:start] + draw(st.sampled_from(TOKENS)) + data[start:]
        elif kind == "over":
            data = data[:start] + draw(st.sampled_from(TOKENS)) + data[end:]
        elif kind == "flip" and start < len(data):
            data = data[:start] + bytes([data[start] ^ 1 << draw(st.integers(0, 7))]) + data[start + 1 :]
        elif kind == "end":
            data = data[:start]
        elif kind == "bytes":
            data = data[:start] + draw(st.binary(max_size=12)) + data[end:]
    return data


def lines_of(data: bytes) -> list[tuple[int, bytes]]:
    """Lines as the landing zone gives them: (number from 1, bytes without the newline)."""
    parts = data.split(b"\n")
    return list(enumerate(parts[:-1] if not parts[-1] else parts, start=1))
