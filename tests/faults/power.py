"""A disk that keeps only what it was told to keep, as after a power cut.

What belongs here: watching syncs and renames of this process, and saying what of a folder would still be there. Bytes
count from the sync of their file, names from the sync of their folder. What SQLite writes is its own (`PRAGMA
synchronous`), and its files are not looked at: a plain `open` of them would drop its locks.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import gateway.log

SQLITE = (".sqlite", "-wal", "-shm", "-journal", ".db")


class Disk:
    """The disk under one folder from now on; what is there already is kept. `hasty`: names that were given to files
    whose bytes were not on disk yet: after a cut such a file may be there and empty."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.hasty: list[str] = []
        self._names: dict[int, dict[str, int]] = {}
        self._bytes: dict[int, bytes] = {}
        self._held: list[int] = []  # a number that is in use is not given to another file
        self._sync_all()
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._synced)
        patch.setattr(gateway.log, "_sync", self._synced)
        patch.setattr(os, "sync", self._sync_all)
        for name in ("rename", "replace"):
            patch.setattr(os, name, self._renaming(getattr(os, name)))

    def close(self) -> None:
        for handle in self._held:
            os.close(handle)

    def keeps(self, path: Path) -> bool:
        """Whether a file or a folder, with all in it, would be there after a cut as it is now."""
        at = self.root
        for part in path.relative_to(self.root).parts:
            if self._names.get(at.stat().st_ino, {}).get(part) != (at / part).stat().st_ino:
                return False
            at /= part
        return all(map(self.keeps, path.iterdir())) if path.is_dir() else self._is_written(path)

    def _is_written(self, path: Path) -> bool:
        return path.name.endswith(SQLITE) or self._bytes.get(path.stat().st_ino) == path.read_bytes()

    def _note(self, path: Path) -> None:
        if path.name.endswith(SQLITE):
            return
        self._held.append(os.open(path, os.O_RDONLY))
        number = os.fstat(self._held[-1]).st_ino
        if path.is_dir():
            self._names[number] = {one.name: one.stat(follow_symlinks=False).st_ino for one in os.scandir(path)}
        else:
            self._bytes[number] = path.read_bytes()

    def _sync_all(self) -> None:
        for path in (self.root, *self.root.rglob("*")):
            self._note(path)

    def _synced(self, handle: int) -> None:
        number = os.fstat(handle).st_ino
        for path in (self.root, *self.root.rglob("*")):
            if path.stat().st_ino == number:
                self._note(path)

    def _renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: str | Path, target: str | Path, **more: object) -> None:
            found = Path(source)
            if found.is_relative_to(self.root):
                files = [one for one in found.rglob("*") if one.is_file()] if found.is_dir() else [found]
                if not all(map(self._is_written, files)):
                    self.hasty.append(Path(target).relative_to(self.root).as_posix())
            real(source, target, **more)

        return rename
