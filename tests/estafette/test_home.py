"""`init`, `schema`, `check`, `doctor`, `templates pull`."""

import json
from pathlib import Path

from estafette.cli import main
from resources.home import open_home

ROOT = Path(__file__).parents[2]


def test_a_new_home_has_an_example_of_everything_and_nothing_wrong(tmp_path, capsys):
    made = tmp_path / "new"
    assert main(["init", str(made)]) == 0
    assert "estafette check" in capsys.readouterr().out
    for name in (
        "estafette.yaml", ".env.example", ".gitignore", "dagster.yaml", "workspace.yaml", "README.md",
        "campaigns/autumn_offer.yaml", "segments/loyal.sql", "segments/inactive_30d.yaml", "rates/example.csv",
        "templates/autumn_offer.fr.json", "landing/contacts", "landing/webhooks",
    ):  # fmt: skip
        assert (made / name).exists(), name
    assert main(["check", "--home", str(made), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    campaigns = dict.fromkeys(("appointment_reminder", "autumn_offer", "order_ready", "survey_thanks"), "live")
    drafts = dict.fromkeys(("loyal_gift", "loyal_points"), "draft")
    assert found == {"ok": True, "campaigns": {**campaigns, **drafts}, "coupons": [], "problems": []}


def test_init_leaves_a_folder_alone_that_holds_something(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_root_of_the_repository_is_a_home_without_errors(tmp_path, capsys):
    assert main(["check", "--home", str(ROOT), "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_checking_a_home_writes_nothing_into_it(cli, home):
    before = sorted(path for path in home.rglob("*"))
    assert cli("check", "--offline").code == 0
    assert sorted(path for path in home.rglob("*")) == before


def test_schemas_are_json_of_each_kind_of_file(capsys):
    assert main(["schema"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"campaign", "segment", "settings"}
    assert main(["schema", "campaign"]) == 0
    assert "steps" in json.loads(capsys.readouterr().out)["properties"]


def test_check_names_file_line_field_and_mend_of_a_hole_and_ends_with_1(cli, home):
    file = home / "campaigns" / "autumn_offer.yaml"
    file.write_text(file.read_text().replace('discount: {text: "20 %"}', 'discunt: {text: "20 %"}'))
    found = cli("check")
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "discunt" in text)
    assert found.code == 1
    assert f"campaigns/autumn_offer.yaml:{line}: steps.offer.message.variables.discunt" in found.out
    assert "1 with holes" in found.out
    as_json = cli("check", "--json")
    assert as_json.code == 1
    assert as_json.json["campaigns"]["autumn_offer"] == "holes"
    assert {one["level"] for one in as_json.json["problems"]} == {"error"}
    assert cli("check", "loyal_points").code == 0


def test_check_shows_what_is_wrong_with_the_settings(cli, home):
    (home / "estafette.yaml").write_text("region: FR\ntimezone: Europe/Pariss\n")
    found = cli("check")
    assert found.code == 1
    assert "estafette.yaml:2: timezone" in found.out
    assert cli("status", now=None).code == 1


def test_templates_are_pulled_into_files_that_change_only_when_meta_changes_them(cli, box, home):
    before = {path.name: path.read_text() for path in (home / "templates").iterdir()}
    found = cli("templates", "pull", "--json")
    assert found.code == 0
    # The examples of this repository are what the sandbox gives.
    assert (found.json["templates"], found.json["changed"], found.json["gone"]) == (len(before), [], [])
    box.template_status("autumn_offer", "fr", "PAUSED")
    again = cli("templates", "pull")
    assert "changed  templates/autumn_offer.fr.json" in again.out
    checked = cli("check", "autumn_offer")
    assert checked.code == 1
    assert "PAUSED" in checked.out


def test_without_a_token_templates_can_not_be_pulled(cli, home):
    (home / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\n")
    found = cli("templates", "pull")
    assert found.code == 1
    assert "WHATSAPP_TOKEN: there is no token" in found.err


def test_doctor_says_ok_where_everything_is(cli, box, people):
    cli("import", *map(str, people))
    found = cli("doctor", "--json")
    assert found.code == 0
    lines = {one["what"]: one for one in found.json["lines"]}
    assert "quality GREEN" in lines["sender main"]["found"]
    assert "reachable and opted in" in lines["contacts"]["found"]
    assert {one["level"] for one in found.json["lines"]} <= {"ok", "warn"}
    assert "sender main" in cli("doctor").out


def test_doctor_fails_on_a_token_that_meta_refuses_and_does_not_show_it(cli, box, home):
    text = (home / ".env").read_text()
    (home / ".env").write_text(text.replace("EAAG-a-token-nobody-may-see", "EAAG-another-secret"))
    found = cli("doctor")
    assert found.code == 1
    assert "FAIL  sender main" in found.out
    assert "190" in found.out
    assert "EAAG-another-secret" not in found.out + found.err


def test_doctor_names_every_secret_that_is_missing(cli, home):
    (home / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\n")
    found = cli("doctor")
    assert found.code == 1
    for name in ("WHATSAPP_TOKEN", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"):
        assert f"{name}" in found.out
    assert "it is not set" in found.out


GIFTS = """
name: gifts
sender: main
entries:
  - audience: {segment: everyone}
variables:
  first_name: {text: toi}
steps:
  gift:
    message: {template: voucher_gift, language: fr, coupons: {pool: gifts}}
"""


def test_check_and_doctor_say_how_many_codes_are_needed_and_left(cli, box, home, people, tmp_path):
    (home / "campaigns" / "gifts.yaml").write_text(GIFTS)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts LIMIT 3\n")
    codes = tmp_path / "gifts.csv"
    codes.write_text("code\n" + "\n".join(f"A{number}" for number in range(5)) + "\n")
    cli("import", *map(str, people), str(codes))
    found = cli("check", "gifts", "--offline", "--json")
    assert found.json["coupons"] == [{"campaign": "gifts", "pool": "gifts", "free": 5, "needed": 3}]
    shown = cli("check", "gifts", "--offline").out
    assert "gifts: the pool gifts has 5 free codes, for an audience of 3." in shown
    lines = {one["what"]: one for one in cli("doctor", "--json").json["lines"]}
    assert (lines["coupons gifts"]["level"], lines["coupons gifts"]["found"]) == ("ok", "5 free")
    with open_home(home) as opened, opened.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE coupon SET expires_at = 1")
    lines = {one["what"]: one for one in cli("doctor", "--json").json["lines"]}
    assert (lines["coupons gifts"]["level"], lines["coupons gifts"]["found"]) == ("warn", "0 free, 5 expired")
