"""What Meta takes as the header of a message: kinds of media, their types and sizes.

What belongs here: the limits (Meta's media reference, 2026) and the verdict on what a server says of a file. Asking the
server is `resources.media_fetch`.
"""

from collections.abc import Mapping

MEGABYTE = 1024 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument"

#: By kind: the types that a server may say, and the most bytes.
TYPES: Mapping[str, frozenset[str]] = {
    "image": frozenset({"image/jpeg", "image/png"}),
    "video": frozenset({"video/mp4", "video/3gpp", "video/3gp"}),
    "document": frozenset(
        {
            "text/plain",
            "application/pdf",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            f"{_OFFICE}.wordprocessingml.document",
            f"{_OFFICE}.spreadsheetml.sheet",
            f"{_OFFICE}.presentationml.presentation",
        }
    ),
}
MOST_BYTES: Mapping[str, int] = {"image": 5 * MEGABYTE, "video": 16 * MEGABYTE, "document": 100 * MEGABYTE}
_NAMED = {"image": "JPEG or PNG", "video": "MP4 or 3GP", "document": "text, PDF or a file of an Office program"}


def media_type(content_type: str) -> str:
    """The type alone, as a Content-Type header says it: `image/jpeg`."""
    return content_type.partition(";")[0].strip().lower()


def media_problem(kind: str, content_type: str, size: int | None) -> str | None:
    """What is wrong with a file of this type and size (bytes; None: nobody knows), or None."""
    found, taken_as = media_type(content_type), f"as {'an' if kind == 'image' else 'a'} {kind}"
    if found not in TYPES[kind]:
        said = f"its type is {found}" if found else "its server says no type"
        return f"{said}; WhatsApp takes {_NAMED[kind]} {taken_as}"
    if size == 0:
        return "it is empty"
    if size is not None and size > MOST_BYTES[kind]:
        most = MOST_BYTES[kind] // MEGABYTE
        return f"it has {size / MEGABYTE:.1f} MB; WhatsApp takes at most {most} MB {taken_as}"
    return None
