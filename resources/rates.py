"""The rate card: `rates/*.csv` of a project home.

What belongs here: reading the files. What a row means, and which rate applies, is `journey.pricing`. Whatever is wrong
with them is a warning of `check`: messages then have no price, and go out all the same.
"""

from pathlib import Path

from journey.csv_rows import UnreadableCsv, csv_rows
from journey.pricing import COLUMNS, Rate, RateCard, read_rates
from journey.problems import Problem

FOLDER = "rates"
LARGEST = 16_000_000  # bytes; all of Meta's markets and currencies are some 100,000


def load_rates(home: Path) -> tuple[RateCard, list[Problem]]:
    """The rates of every file, in the order of their names, and what is wrong with them. Never raises."""
    rates: list[Rate] = []
    problems: list[Problem] = []
    folder = home / FOLDER
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix == ".csv")
    except (FileNotFoundError, NotADirectoryError):
        return RateCard(), []
    except OSError as error:
        what = f"the folder cannot be read: {error.strerror}"
        return RateCard(), [Problem(FOLDER, 0, "", what, "See its permissions.", "warning")]
    for path in paths:
        found, wrong = _file(path, path.relative_to(home).as_posix())
        rates += found
        problems += wrong
    card = RateCard(rates)
    if len(card.currencies) > 1:
        shown = ", ".join(card.currencies)
        what = f"the rate card has rates in {shown}; prices are in {card.currencies[0]}, where no cost_above says else"
        problems.append(Problem(FOLDER, 0, "currency", what, "Keep the currency that Meta bills you in.", "warning"))
    return card, problems


def _file(path: Path, file: str) -> tuple[list[Rate], list[Problem]]:
    rows: list[tuple[int, dict[str, str | None]]] = []
    problems: list[Problem] = []
    try:
        if path.stat().st_size > LARGEST:
            what = f"the file has more than {LARGEST:,} bytes"
            return [], [Problem(file, 0, "", what, "Is it in the right folder?", "warning")]
        with path.open("rb") as lines:
            for part in csv_rows(lines):
                names = {name.strip().casefold().replace(" ", "_"): name for name in part.cells}
                missing = [name for name in COLUMNS if name not in names]
                if missing:
                    what = f"there is no column `{missing[0]}`"
                    return [], [Problem(file, 1, missing[0], what, f"Columns: {', '.join(COLUMNS)}.", "warning")]
                for place, line in enumerate(part.line):
                    rows.append((int(line), {key: part.cells[name][place] for key, name in names.items()}))
                for line, reason, _ in part.bad.iter_rows():
                    problems.append(Problem(file, int(line), "", reason, "Correct the line.", "warning"))
    except OSError as error:
        return [], [Problem(file, 0, "", f"it cannot be read: {error.strerror}", "See its permissions.", "warning")]
    except UnreadableCsv as error:
        return [], [Problem(file, 1, "", str(error), f"Columns: {', '.join(COLUMNS)}.", "warning")]
    rates, wrong = read_rates(rows, file)
    return rates, [*problems, *wrong]
