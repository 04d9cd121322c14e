"""The files that the sandbox has for headers."""

from __future__ import annotations

import pytest

from sandbox.testing import Box


@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [
        ("picture.jpg", "image/jpeg", b"\xff\xd8\xff"),
        ("film.mp4", "video/mp4", b"\x00\x00\x00\x18ftyp"),
        ("document.pdf", "application/pdf", b"%PDF-1.4"),
    ],
)
def test_a_file_is_there_with_its_type_and_size(box: Box, name: str, kind: str, start: bytes) -> None:
    for method in ("HEAD", "GET"):
        answer = box.http.request(method, f"/_sandbox/media/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert int(answer.headers["content-length"]) > len(start)
    assert answer.content.startswith(start)


def test_what_is_not_there_is_not_found(box: Box) -> None:
    assert box.http.get("/_sandbox/media/nothing.jpg").status_code == 404
