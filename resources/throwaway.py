"""A throw-away home: a copy of a home's ledger, on which anything may be tried, and that leaves no trace.

What belongs here: making it and taking it away. It reads the home's own files of the project and of the lake, and
writes everything (ledger, new lake files) into a folder of the system's own that is deleted at the end. It has no
landing files, so nothing is taken in; nothing of it is ever sent. What is tried on it is `pipelines.rehearse`.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from journey.campaign import Campaign
from resources.home import Home
from resources.ledger import Ledger
from resources.project import Paths, Project

Change = Callable[[Campaign], Campaign]


class ThrowAway(Home):
    """A home whose stores lie in `folder`. After `only`, its project has one live campaign, however the file reads."""

    def __init__(self, home: Home, folder: Path) -> None:
        super().__init__(home.path, home.clock, home.wall)
        self.secrets = home.secrets
        self.paths = Paths(folder)
        self.ledger = Ledger.open(self.paths.ledger, self.wall)
        self._only: tuple[str, Change] | None = None

    def only(self, name: str, change: Change) -> Campaign:
        """From now on only this campaign is live, as `change` makes it of the file's; no draft, holes or not."""
        self._only = (name, change)
        self.reload()
        return self.project.campaigns[name]

    def _load(self) -> Project:
        project = super()._load()
        if self._only is None:
            return project
        name, change = self._only
        campaign = change(project.campaigns[name]).model_copy(update={"draft": False})
        return replace(project, campaigns={name: campaign}, holes={})


@contextmanager
def throwaway(home: Home) -> Iterator[ThrowAway]:
    """A throw-away copy of a home as it is at this moment; a pass may be at work on the home meanwhile.

    A home that has no ledger yet gets none by it. OSError: there is no room for the copy in the system's folder.
    """
    with tempfile.TemporaryDirectory(prefix="estafette-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        paths = Paths(folder)
        paths.data.mkdir()
        if home.has_ledger():
            home.ledger.copy(paths.ledger)
        copy = ThrowAway(home, folder)
        try:
            with copy.ledger.write() as tx:
                # Under any root an absolute path is itself: old files are read where they are, new ones are ours.
                root = f"{home.lake.root}/" if home.has_ledger() else ""
                for table in ("lake_file", "export"):
                    tx.exec_driver_sql(f"UPDATE {table} SET path = ? || path WHERE path <> ''", (root,))
                tx.exec_driver_sql("DELETE FROM lease")
            yield copy
        finally:
            copy.close()
