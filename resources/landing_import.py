"""Putting files into the landing zone from elsewhere: `estafette import FILE…`.

What belongs here: telling files of contacts, events, coupons and requests apart by their columns, and copying them so
that nobody sees half of one. Taking them in is not done here.
"""

import csv
import filecmp
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from journey.contact_rows import known_column
from journey.event_rows import known_field
from journey.json_rows import json_object
from journey.problems import UsageError
from resources.lake import parquet_schema
from resources.landing import CSV, NDJSON, PARQUET, legible
from resources.on_disk import into_place, make_folder

Importable = Literal["contacts", "events", "coupons", "requests"]
_LOOKED_AT = 50  # lines of an NDJSON file
_HEADER = 1 << 20  # bytes in which a header must end


def import_files(landing: Path, files: Iterable[Path], as_: Importable | None = None) -> list[tuple[Path, Importable]]:
    """Copies files into `landing` (the folder landing/); gives where each is now, and as what. `as_` says what they
    are; else their columns do.

    Every file is looked at before the first is copied. UsageError: a file that is not there, can't be read, or does not
    tell what it is. A file that is in the landing zone already stays as it is. A coupon file is named by its pool and
    replaces an older one of that name: its codes are all read again, and known ones dropped.
    """
    found = [(file, as_ if as_ is not None else tell(file)) for file in _there(files)]
    return [(_copy(landing / kind, file, replace=kind == "coupons"), kind) for file, kind in found]


def tell(file: Path) -> Importable:
    """What a file is by its columns: events have `event` and `occurred_at`, requests a `request_uuid` and a `campaign`,
    coupons `vouchers` or `code`, contacts a phone or an id. UsageError where that says nothing."""
    try:
        names = list(_names(file))
    except (OSError, pl.exceptions.PolarsError, csv.Error) as error:
        raise UsageError(f"it can't be read: {error}", where=str(file)) from None
    fields = {known_field(name) for name in names}
    if {"event", "occurred_at"} <= fields:
        return "events"
    if {"request_uuid", "campaign"} <= set(names):
        return "requests"
    if {"contact_id", "phone"} & {known_column(name) for name in names}:
        return "contacts"
    if {"vouchers", "code"} & {name.strip().casefold() for name in names}:
        return "coupons"
    shown = ", ".join(repr(name)[1:-1] for name in names[:8]) or "none"  # of a file that is no text, too
    raise UsageError(
        f"its columns ({shown}) don't tell whether it holds contacts, events, coupons or requests",
        where=str(file),
        mend=f"Say it: --as {' | '.join(get_args(Importable))}",
    )


def _there(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        if file.is_dir():
            raise UsageError("it is a folder", where=str(file), mend="Name its files, e.g. with *.csv")
        if not file.is_file():
            raise UsageError("there is no such file", where=str(file))
        if file.suffix.lower() not in NDJSON | CSV | PARQUET:
            raise UsageError(
                f"`{file.suffix or file.name}` is no known ending",
                where=str(file),
                mend="Use .csv, .ndjson or .parquet",
            )
        yield file


def _names(file: Path) -> Iterable[str]:
    suffix = file.suffix.lower()
    if suffix in PARQUET:
        return list(parquet_schema(file))
    with file.open("rb") as lines:
        if suffix in NDJSON:
            some = [json_object(line.strip())[0] for _, line in zip(range(_LOOKED_AT), lines, strict=False)]
            return dict.fromkeys(name for one in some for name in one)
        for line in iter(lambda: lines.readline(_HEADER), b""):
            text = line.decode("utf-8-sig", "replace").strip("\r\n")
            if text.strip():
                return next(csv.reader([text], delimiter=max(",;\t", key=text.count)), [])
    return []


def _copy(folder: Path, file: Path, replace: bool) -> Path:
    """A copy under its own name; where another file has that name, instead of it or under a numbered one."""
    make_folder(folder)
    target = folder / legible(file.name).lstrip(".")
    number = 1
    while target.exists():
        if target.samefile(file) or filecmp.cmp(file, target, shallow=False):
            return target
        if replace:
            break
        number += 1
        target = folder / f"{file.stem.lstrip('.')}-{number}{file.suffix}"
    hidden = folder / f".{target.name}.{os.getpid()}"
    try:
        shutil.copyfile(file, hidden)
        into_place(hidden, target)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    return target
