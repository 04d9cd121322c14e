"""Which other processes have files of a folder open, as far as the system tells.

What belongs here: one look at /proc. Where there is none (macOS), and of other users' processes, nothing is known.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Opener:
    """A process with a file open."""

    pid: int
    command: str
    path: Path


def openers(folders: Sequence[Path]) -> list[Opener]:
    """The processes, other than this one, that have a file in one of these folders open; each once."""
    found = []
    for process in sorted(PROC.glob("[0-9]*"), key=lambda one: int(one.name)):
        if int(process.name) != os.getpid():
            path = _open_in(process, folders)
            if path is not None:
                found.append(Opener(int(process.name), _command(process), path))
    return found


def _open_in(process: Path, folders: Sequence[Path]) -> Path | None:
    try:
        handles = list((process / "fd").iterdir())
    except OSError:  # it has ended, or is another user's
        return None
    for handle in handles:
        try:
            path = handle.readlink()
        except OSError:
            continue
        if any(path.is_relative_to(folder) for folder in folders):
            return path
    return None


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "unknown"
    return " ".join(Path(word).name if number == 0 else word for number, word in enumerate(words[:4]) if word)[:80]
