"""Every command and every query in the README and the docs runs as it is written."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(f"docs/{name}.md" for name in (
    "write-a-campaign", "query-results", "connect-whatsapp", "when-something-goes-wrong", "how-it-works", "api",
    "what-a-message-says", "when-people-enter", "how-people-move", "limits", "pages", "behind-a-proxy",
    "backup-and-repair",
)))  # fmt: skip
STAY = {"serve", "sandbox"}  # they run until Ctrl-C; test_servers has them
MADE = {"init"}  # makes a folder; test_home has it
COMMAND = re.compile(r"^    (estafette .+)$", re.MULTILINE)
QUERY = re.compile(r"^```sql\n(.+?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(page: str) -> list[list[str]]:
    found = [
        shlex.split(line, comments=True)[1:] for line in COMMAND.findall((ROOT / page).read_text(encoding="utf-8"))
    ]
    return [one for one in found if one[0] not in STAY | MADE]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_every_command_of_a_page_does_what_it_says(page, cli, box, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("import", *map(str, people)).code == 0
    assert cli("tick").code == 0
    for arguments in commands(page):
        found = cli(*arguments)
        assert found.code == 0, (arguments, found.err, found.out)


def test_every_query_of_the_docs_gives_rows_or_none(cli, box, people):
    queries = [sql for page in PAGES for sql in QUERY.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert len(queries) > 8
    cli("import", *map(str, people))
    assert cli("run", "autumn_offer").code == 0
    for sql in queries:
        found = cli("query", sql, "--json")
        assert found.code == 0, (sql, found.err)
        assert found.json["columns"]


def test_the_campaign_of_the_readme_has_no_hole(cli, home):
    (text,) = re.findall(r"^```yaml\n(.+?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (home / "campaigns" / "autumn_offer.yaml").write_text(text, encoding="utf-8")
    found = cli("check", "autumn_offer")
    assert found.code == 0, found.out


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    file = ROOT / page
    for target in LINK.findall(file.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (file.parent / target).exists(), target
