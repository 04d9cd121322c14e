"""docs/how-people-move.md: every campaign has no hole, and every time line happens as it is told."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.docs.pages import DOCS, campaigns
from tests.stage import Stage, person

PAGE = "how-people-move.md"
PARIS = ZoneInfo("Europe/Paris")
FILES = sorted((DOCS.parent / "templates").glob("*.json"))
TEMPLATES = [json.loads(file.read_text(encoding="utf-8")) for file in FILES]
EVENT = re.compile(r"event `(\w+)` with `(\{.*\})`")
LINES = [(text, line) for text, lines in campaigns(PAGE) for line in lines]


def moment(at: str) -> datetime:
    """A time of the page, which is Paris's."""
    return datetime.fromisoformat(at).replace(tzinfo=PARIS).astimezone(UTC)


class Teller:
    """Does what a row says, as one person would live it."""

    def __init__(self, stage: Stage, campaign: str) -> None:
        self.stage, self.campaign, self.events = stage, campaign, 0

    def act(self, at: str, what: str) -> None:
        self.stage.at(moment(at))
        event = EVENT.fullmatch(what)
        if what == "enters":
            self.stage.run(self.campaign)
        elif event is not None:
            self._event(event[1], json.loads(event[2]))
        elif what.startswith("answers "):
            self.stage.says("+33600000000", what.removeprefix("answers ").strip("`"))
        elif what.startswith("reads "):
            step = what.removeprefix("reads ").strip("`")
            self.stage.status(self.stage.value("SELECT max(id) FROM message WHERE step = ?", step), "read")
        else:
            assert what == "nothing", what
        for _ in range(3):
            self.stage.turn()
            self.stage.send()
        self.stage.turn()

    def _event(self, name: str, properties: dict[str, object]) -> None:
        self.events += 1
        line = {"event": name, "contact_id": "c0", "occurred_at": self.stage.now.isoformat(), "properties": properties}
        folder = self.stage.path / "landing/events"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.events}.ndjson").write_text(json.dumps(line) + "\n")

    def stands(self) -> str:
        rows = self.stage.rows("SELECT step, left_at, reason FROM participant ORDER BY id DESC LIMIT 1")
        if not rows:
            return "is not inside"
        step, left_at, reason = rows[0]
        return f"stands at `{step}`" if left_at is None else f"left: `{reason}`"


@pytest.mark.parametrize(("campaign", "line"), LINES, ids=lambda one: "" if isinstance(one, str) else one[-1]["then"])
def test_time_lines(campaign: str, line: list[dict[str, str]], make_home: Callable[..., Stage]) -> None:
    name = campaign.split("name: ")[1].split("\n")[0]
    stage = make_home(
        now=moment(line[0]["at"]),
        campaigns=[campaign],
        segments={"inactive_30d.yaml": "all:\n  - {user: {country: FR}}\n"},
        contacts=[person(0, first_name="Camille", favourite_product="les bottines", product_id="b1")],
        templates=TEMPLATES,
    )
    stage.turn()
    stage.reload()
    assert stage.home.project.holes == {}
    teller = Teller(stage, name)
    for row in line:
        teller.act(row["at"], row["what happens"])
        assert teller.stands() == row["then"], row
