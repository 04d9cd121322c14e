"""`export` and `forget` as a person uses them, with real passes: also Dagster's storage says nothing of anybody."""

import os
from pathlib import Path

import pytest

from resources.home import open_home
from resources.lease_names import PASS
from resources.ledger import wanted
from tests.estafette.test_why import CAMPAIGN, PEOPLE

SECRETS = (b"612345671", b"Zo\xc3\xa9", b"Zo\\u00e9", b"customer-1")


@pytest.fixture
def sent(cli, home, box, tmp_path):
    """A pass sent to somebody whose name is also what a segment gives; another segment fails on it."""
    (home / "campaigns" / "small.yaml").write_text(CAMPAIGN)
    failing = CAMPAIGN.replace("name: small", "name: fails").replace("segment: everyone", "segment: broken")
    (home / "campaigns" / "fails.yaml").write_text(failing)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id, first_name, phone FROM contacts\n")
    broken = "SELECT contact_id FROM contacts WHERE first_name::INTEGER > 1 OR phone::DATE > now()\n"
    (home / "segments" / "broken.sql").write_text(broken)
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE.replace("c1,", "customer-1,"))
    assert cli("import", str(file)).code == 0
    assert cli("run", "small").code == 0
    cli("run", "fails")
    assert cli("tick").code == 0
    return cli


def named(folder: Path) -> set[str]:
    """Files (but the ledger's, which nobody may open beside SQLite) that say something of them."""
    files = [Path(inside, one) for inside, _, names in os.walk(folder) for one in names]
    return {
        path.relative_to(folder).as_posix()
        for path in files
        if not path.name.startswith("ledger.") and any(secret in path.read_bytes() for secret in SECRETS)
    }


def test_a_person_is_handed_out_then_forgotten_and_dagster_never_knew_them(sent, home, tmp_path):
    assert (home / "data/dagster").is_dir()
    assert named(home / "data/dagster") == set()
    assert sent("forget", "customer-9", "--yes").code == 1
    assert sent("export", "customer-9").code == 1
    assert "customer-1" in sent("why", "customer-1").out
    out = tmp_path / "person.json"
    told = sent("export", "06 12 34 56 71", "--out", str(out), "--json")
    assert told.code == 0
    assert told.json["counts"]["messages"] == 1
    assert out.stat().st_mode & 0o077 == 0
    assert sent("export", "customer-1").json["contact"][0]["first_name"] == "Zoé"
    funnel = sent("query", "FROM campaign_funnel", "--json").json["rows"]
    assert len(funnel) == 1
    plan = home / "plans"
    assert sent("plan", "small", "--out", str(plan)).code == 0
    (home / "segments" / "vip.sql").write_text("SELECT contact_id FROM contacts WHERE phone = '+33612345671'\n")
    asked = sent("forget", "customer-1")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    done = sent("forget", "customer-1", "--yes")
    assert done.code == 0, done.err
    assert "Backups are not touched" in done.out
    assert "segments/vip.sql" in done.out
    (home / "segments" / "vip.sql").unlink()
    assert named(home) == set()
    assert sent("export", "customer-1").code == 1
    assert sent("query", "FROM campaign_funnel", "--json").json["rows"] == funnel


def test_a_live_pass_is_asked_to_make_room(home):
    from estafette.lease import passing

    with open_home(home) as opened:
        held = opened.ledger.take(PASS, "somebody")
        said: list[str] = []

        def told(text: str) -> None:
            said.append(text)
            assert wanted(opened.ledger, PASS)
            assert held is not None
            opened.ledger.release(held)

        with passing(opened.ledger, "forget", told, ask=True):
            assert not wanted(opened.ledger, PASS)
        assert len(said) == 1
