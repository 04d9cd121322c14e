"""`report`: what a campaign has come to, on the terminal and as a file that needs nothing else."""

import re

import pytest

from pipelines.publish import publish
from tests.estafette.conftest import START
from tests.estafette.test_why import CAMPAIGN, PEOPLE
from tests.stage import Stage


@pytest.fixture
def ran(cli, home, tmp_path):
    """The campaign ran at START: c1 read the first message, c2 lacks a variable of it, c3 has not opted in."""
    text = CAMPAIGN.replace("name: small", "name: small\ndescription: <b>Petit</b> & beau")
    (home / "campaigns" / "small.yaml").write_text(text)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    assert cli("import", str(file)).code == 0
    stage = Stage(home, START)
    stage.run("small")
    stage.send()
    stage.status(1, "read").turn()
    publish(stage.home, stage.lease)
    stage.home.close()
    return cli


def test_the_document_has_the_funnel_the_branches_and_why_not(ran):
    found = ran("report", "small", "--json").json
    assert {name: found["funnel"][name] for name in ("entered", "planned", "accepted", "read")} == {
        "entered": 3, "planned": 2, "accepted": 2, "read": 1,
    }  # fmt: skip
    assert {"from_step": "first", "branch": "read", "to_step": "end", "people": 1} in found["branches"]
    assert {(one["step"], one["reason"]): one["messages"] for one in found["skips"]} == {
        ("first", "missing_variable"): 1,
        ("first", "not_opted_in"): 1,
        ("second", "not_opted_in"): 1,
    }
    assert [one["accepted"] for one in found["daily"]] == [2] and found["file"] is None


def test_the_terminal_says_it_in_tables(ran):
    said = ran("report", "small").out
    for part in ("entered", "By step", "Branches", "Not sent", "missing_variable"):
        assert part in said, part


@pytest.mark.parametrize(("language", "title"), [("en", "Report on small"), ("fr", "Rapport sur small")])
def test_the_file_is_whole_and_asks_nobody(ran, tmp_path, language, title):
    file = tmp_path / "report.html"
    found = ran("report", "small", "--html", str(file), "--language", language)
    assert found.code == 0 and str(file) in found.out.replace("\n", "")
    html = file.read_text()
    assert f'<html lang="{language}">' in html and title in html and "<svg" in html and "<style>" in html
    assert "&lt;b&gt;Petit&lt;/b&gt; &amp; beau" in html and "<b>Petit" not in html
    assert not re.search(r"<script|<link|<img|<form|url\((?!#)|src=", html)


def test_what_cannot_be_reported_is_said(ran, cli, tmp_path):
    unknown = ran("report", "smal")
    assert unknown.code == 1 and "small" in unknown.err
    away = ran("report", "small", "--html", str(tmp_path / "gone" / "report.html"))
    assert away.code == 1 and "can't be written" in away.err


def test_without_anything_published_the_way_on_is_said(cli, home):
    (home / "campaigns" / "small.yaml").write_text(CAMPAIGN)
    found = cli("report", "small")
    assert found.code == 1 and "estafette tick" in found.err
