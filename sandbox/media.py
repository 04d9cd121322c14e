"""Files to put in headers: a picture, a film and a document at addresses of this machine.

For trying out headers where no public address is at hand: `http://127.0.0.1:8001/_sandbox/media/picture.jpg`. Meta
could not fetch them; whoever checks media must allow private addresses. Everything else below the same path is a 404.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def picture(width: int = 320, height: int = 160) -> bytes:
    """A grey JPEG: every block of 8 × 8 is "as the one before" (one bit) and "nothing more" (one bit)."""
    blocks = -(-width // 8) * -(-height // 8)
    table = b"\x01" + bytes(15) + b"\x00"  # one code of one bit
    frame = b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x01\x01\x11\x00"
    parts = [(0xDB, b"\x00" + b"\x10" * 64), (0xC0, frame), (0xC4, b"\x00" + table), (0xC4, b"\x10" + table)]
    parts.append((0xDA, b"\x01\x01\x00\x00\x3f\x00"))
    segments = b"".join(b"\xff" + bytes([mark]) + (len(data) + 2).to_bytes(2, "big") + data for mark, data in parts)
    return b"\xff\xd8" + segments + bytes(-(-blocks * 2 // 8)) + b"\xff\xd9"


def document(text: str = "Estafette") -> bytes:
    """A PDF of one page."""
    content = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    made, places = b"%PDF-1.4\n", list[int]()
    for number, one in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def _box(kind: bytes, data: bytes) -> bytes:
    return (len(data) + 8).to_bytes(4, "big") + kind + data


FILM = _box(b"ftyp", b"isom\x00\x00\x02\x00isommp41") + _box(b"mdat", b"")  # an MP4 without a single picture
FILES = {
    "picture.jpg": ("image/jpeg", picture()),
    "film.mp4": ("video/mp4", FILM),
    "document.pdf": ("application/pdf", document()),
}


async def _file(request: Request) -> Response:
    kind, content = FILES.get(request.path_params["name"], ("", b""))
    return Response(content, media_type=kind) if kind else Response(b"", 404, media_type="text/plain")


def routes() -> list[Route]:
    """GET and HEAD on every file."""
    return [Route("/_sandbox/media/{name}", _file, methods=["GET"])]
