"""`init`: a new project home with one example of everything.

What belongs here: which files a new home gets. They are the ones in the root of this repository, which is a home
itself, so that every example exists once; only the home's own README is written here.
"""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from estafette.session import SETTINGS, Session
from journey.problems import EstafetteError

ROOT = Path(__file__).resolve().parent.parent
FILES = (SETTINGS, ".env.example", "dagster.yaml", "workspace.yaml")
FOLDERS = ("campaigns/*.yaml", "segments/*.sql", "segments/*.yaml", "templates/*.json", "rates/*.csv", "rates/*.md")
LANDING = ("contacts", "events", "coupons", "requests", "webhooks")
IGNORED = ".env\ndata/\nlanding/*/*\n!landing/*/.gitkeep\n"
README = """# A home of Estafette

    cp .env.example .env                     # secrets; as they are, they talk to the sandbox
    estafette check                          # everything that can be wrong with these files
    estafette sandbox &                      # the stand-in for WhatsApp, in a terminal of its own
    estafette serve &                        # the gateway, which takes its webhooks
    estafette import contacts.csv            # your contacts
    estafette preview autumn_offer --contact ID
    estafette run autumn_offer
    estafette status

| folder | holds |
|---|---|
| `campaigns/` | one campaign a file |
| `segments/` | one audience a file, SQL or filters |
| `templates/` | message templates as `estafette templates pull` fetched them |
| `rates/` | rate cards |
| `landing/` | what comes in; files put here are taken in by the next pass |
| `data/` | what Estafette keeps; `data/analytics.duckdb` is for you to query |
"""


def init(session: Session, directory: Path) -> None:
    """Make a home in `directory`. EstafetteError where something is there already; then nothing is written."""
    target = directory.expanduser().resolve()
    made = make(target)

    def draw(console: Console) -> None:
        console.print(f"A new home in {target}: {len(made)} files.")
        console.print("Next:")
        for line in (f"cd {shlex.quote(str(directory))}", "cp .env.example .env", "estafette check"):
            console.print(f"    {line}")

    session.show({"home": str(target), "files": made}, draw)


def make(target: Path, *, templates: bool = True) -> list[str]:
    """Write a home's files; gives their paths in it. `templates`: those that the sandbox has, as pulled."""
    if target.exists() and not target.is_dir():
        raise EstafetteError(f"{target} is a file", mend="Name a folder that is empty or not there yet")
    if target.is_dir() and any(target.iterdir()):
        what = "is a home already" if (target / SETTINGS).exists() else "is not empty"
        raise EstafetteError(f"{target} {what}", mend="Name a folder that is empty or not there yet")
    sources = list(_sources(templates))
    try:
        for name, source in sources:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
        (target / ".gitignore").write_text(IGNORED, encoding="utf-8")
        (target / "README.md").write_text(README, encoding="utf-8")
        for kind in LANDING:
            (target / "landing" / kind).mkdir(parents=True, exist_ok=True)
            (target / "landing" / kind / ".gitkeep").touch()
    except OSError as error:
        raise EstafetteError(
            f"the home can't be written: {error.strerror}",
            where=str(error.filename or target),
            mend="Choose another folder",
        ) from None
    return [*(name for name, _ in sources), ".gitignore", "README.md"]


def _sources(templates: bool) -> Iterator[tuple[str, Path]]:
    for name in FILES:
        if not (ROOT / name).is_file():
            raise EstafetteError(
                f"this installation has no {name} to copy",
                mend="Install Estafette from its repository: pip install -e .",
            )
        yield name, ROOT / name
    for pattern in FOLDERS:
        if templates or not pattern.startswith("templates/"):
            for source in sorted(ROOT.glob(pattern)):
                yield source.relative_to(ROOT).as_posix(), source
