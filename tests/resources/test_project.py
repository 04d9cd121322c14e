"""A project home: one bad file never stops the others."""

import json
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from journey.problems import ProjectError
from resources.project import Paths, Project, schemas

SETTINGS = """\
region: FR
timezone: Europe/Paris
senders:
  main: {phone_number_id: "106540352242922", waba_id: "102290129340398"}
consent: {default: opted_in}
properties: {zip: text}
"""

CAMPAIGN = """\
name: {name}
sender: main
entries: [{{audience: {{segment: {segment}}}}}]
steps:
  hello:
    message: {{template: hello, language: fr, variables: {{"1": {{user: {user}, fallback: vous}}}}}}
"""


def campaign(name: str, *, segment: str = "loyal", user: str = "first_name") -> str:
    return CAMPAIGN.format(name=name, segment=segment, user=user)


def template(status: str = "APPROVED", language: str = "fr") -> str:
    body = {"type": "BODY", "text": "Bonjour {{1}}"}
    return json.dumps({"name": "hello", "language": language, "status": status, "components": [body]})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("campaigns", "segments", "templates"):
        (tmp_path / folder).mkdir()
    (tmp_path / "estafette.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "campaigns/autumn.yaml").write_text(campaign("autumn"), encoding="utf-8")
    (tmp_path / "segments/loyal.sql").write_text("select contact_id from contacts", encoding="utf-8")
    (tmp_path / "segments/staff.yaml").write_text("all: [{tag: staff}]", encoding="utf-8")
    (tmp_path / "templates/hello.fr.json").write_text(template(), encoding="utf-8")
    return tmp_path


def said(project: Project) -> list[tuple[str, int, str]]:
    return [(problem.file, problem.line, f"{problem.message}. {problem.mend}") for problem in project.problems]


def test_a_good_home_has_its_campaigns_segments_and_templates(home: Path) -> None:
    project = Project.load(home)
    assert project.problems == ()
    assert project.settings.region == "FR"
    assert list(project.live_campaigns()) == ["autumn"]
    assert {name: (one.kind, one.file) for name, one in project.segments.items()} == {
        "loyal": ("sql", "segments/loyal.sql"),
        "staff": ("yaml", "segments/staff.yaml"),
    }
    assert project.segments["loyal"].text == "select contact_id from contacts"
    assert list(project.templates) == [("hello", "fr")]
    assert project.sources["autumn"].line(("steps", "hello")) == 5


def test_the_version_of_a_campaign_is_the_checksum_of_its_bytes(home: Path) -> None:
    data = "\ufeff".encode() + campaign("autumn").replace("\n", "\r\n").encode()
    (home / "campaigns/autumn.yaml").write_bytes(data)
    assert Project.load(home).live_campaigns()["autumn"].version == sha256(data).hexdigest()[:12]


def test_a_campaign_with_a_hole_is_not_live_and_the_others_are(home: Path) -> None:
    (home / "campaigns/broken.yaml").write_text("name: [", encoding="utf-8")
    (home / "campaigns/lost.yaml").write_text(campaign("lost", segment="loyel"), encoding="utf-8")
    (home / "campaigns/other.yaml").write_text(campaign("another"), encoding="utf-8")
    (home / "campaigns/latin.yaml").write_bytes("name: latin\ndescription: été\n".encode("latin-1"))
    project = Project.load(home)
    assert list(project.live_campaigns()) == ["autumn"]
    assert set(project.holes) == {"broken", "lost", "other", "latin"}
    assert set(project.campaigns) == {"autumn", "lost", "other"}
    assert [problem.field for problem in project.holes["lost"]] == ["entries[0].audience.segment"]
    assert [problem.field for problem in project.holes["other"]] == ["name"]
    assert ("campaigns/latin.yaml", 2, "the file is not UTF-8 text. Save it as UTF-8.") in said(project)
    assert {problem.file for problem in project.problems} == {
        f"campaigns/{name}.yaml" for name in ("broken", "lost", "other", "latin")
    }


def test_a_draft_is_read_and_not_live(home: Path) -> None:
    (home / "campaigns/autumn.yaml").write_text(campaign("autumn") + "draft: true\n", encoding="utf-8")
    project = Project.load(home)
    assert list(project.campaigns) == ["autumn"]
    assert project.live_campaigns() == {}
    assert project.holes == {}


def test_a_template_that_is_not_approved_does_not_stop_a_live_campaign(home: Path) -> None:
    (home / "templates/hello.fr.json").write_text(template("PAUSED"), encoding="utf-8")
    project = Project.load(home)
    assert list(project.live_campaigns()) == ["autumn"]
    assert [(problem.level, problem.file) for problem in project.problems] == [("error", "campaigns/autumn.yaml")]


def test_settings_that_cannot_be_used_are_told_by_whoever_asks_for_them_and_nothing_is_live(home: Path) -> None:
    (home / "estafette.yaml").write_text(SETTINGS.replace("FR", "XX"), encoding="utf-8")
    project = Project.load(home)
    assert project.live_campaigns() == {}
    assert list(project.campaigns) == ["autumn"]
    with pytest.raises(ProjectError, match=r"estafette\.yaml:1: region: “XX” is no country code"):
        _ = project.settings


def test_a_folder_that_is_no_project_home_says_how_to_make_one(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "nowhere"):
        project = Project.load(home)
        with pytest.raises(ProjectError, match="estafette init DIR"):
            _ = project.settings
        assert project.campaigns == {}


def test_a_segment_in_two_files_is_usable_from_neither_and_the_campaign_says_so(home: Path) -> None:
    (home / "segments/loyal.yaml").write_text("all: []", encoding="utf-8")
    project = Project.load(home)
    assert "loyal" not in project.segments
    assert said(project)[0][2] == "segments/loyal.sql has the same name. Rename or remove one of the two."
    assert project.holes["autumn"][0].message == "the segment `loyal` cannot be used"


def test_a_segment_that_cannot_be_used_spoils_those_that_need_it_and_their_campaigns(home: Path) -> None:
    (home / "segments/staff.yaml").write_text("all: [{tga: staff}]", encoding="utf-8")
    (home / "segments/guests.yaml").write_text("not: {segment: staff}", encoding="utf-8")
    (home / "segments/lost.yaml").write_text("any:\n  - {segment: loyel}\n", encoding="utf-8")
    (home / "campaigns/party.yaml").write_text(campaign("party", segment="guests"), encoding="utf-8")
    project = Project.load(home)
    assert list(project.segments) == ["loyal"]
    assert project.holes["party"][0].message == "the segment `guests` cannot be used"
    assert {(problem.file, problem.line) for problem in project.problems} == {
        ("segments/staff.yaml", 1),
        ("segments/lost.yaml", 2),
        ("campaigns/party.yaml", 3),
    }
    assert list(project.live_campaigns()) == ["autumn"]


def test_a_filter_on_a_property_that_nobody_has_is_an_error_of_check_and_stops_no_campaign(home: Path) -> None:
    (home / "segments/staff.yaml").write_text("all:\n  - {user: {frist_name: Ada}}\n", encoding="utf-8")
    (home / "campaigns/staff.yaml").write_text(campaign("staff", segment="staff"), encoding="utf-8")
    assert Project.load(home).problems == ()
    project = Project.load(home, properties=["first_name"])
    assert [(problem.file, problem.line, problem.level) for problem in project.problems] == [
        ("segments/staff.yaml", 2, "error")
    ]
    assert project.problems[0].mend == "Did you mean `first_name`?"
    assert "staff" in project.live_campaigns()


def test_segments_with_impossible_names_or_nothing_in_them_are_findings(home: Path) -> None:
    (home / "segments/my segment.sql").write_text("select 1", encoding="utf-8")
    (home / "segments/empty.sql").write_text(" \n", encoding="utf-8")
    project = Project.load(home)
    assert [(file, text.split(".")[0]) for file, _, text in said(project)] == [
        ("segments/empty.sql", "the file is empty"),
        ("segments/my segment.sql", "the file's name “my segment” cannot name a segment"),
    ]
    assert list(project.live_campaigns()) == ["autumn"]


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("bad.fr.json", '{"name": "bad",\n "language": }', 2, "not JSON"),
        ("bad.fr.json", "[1]", 0, ""),
        ("bad.fr.json", "{}", 0, ""),
        ("bad.fr.json", "[" * 100_000, 1, "not JSON"),
        ("bad.fr.json", "9" * 5000, 1, "not JSON"),
    ],
)
def test_a_bad_template_file_is_a_finding_and_the_others_are_read(
    home: Path, name: str, text: str, line: int, words: str
) -> None:
    (home / "templates" / name).write_text(text, encoding="utf-8")
    project = Project.load(home)
    assert [(file, at) for file, at, _ in said(project)] == [(f"templates/{name}", line)]
    assert words in said(project)[0][2]
    assert ("hello", "fr") in project.templates


def test_files_with_other_endings_and_hidden_ones_are_left_alone_and_yml_is_pointed_at(home: Path) -> None:
    (home / "campaigns/.autumn.yaml.swp").write_text("x", encoding="utf-8")
    (home / "campaigns/.hidden.yaml").write_text("x: [", encoding="utf-8")
    (home / "campaigns/README.md").write_text("x", encoding="utf-8")
    (home / "campaigns/folder.yaml").mkdir()
    (home / "campaigns/winter.yml").write_text("x", encoding="utf-8")
    project = Project.load(home)
    assert [(problem.level, problem.file, problem.mend) for problem in project.problems] == [
        ("warning", "campaigns/winter.yml", "Rename it to winter.yaml.")
    ]


def test_a_file_that_cannot_be_opened_or_is_huge_is_a_finding(home: Path) -> None:
    (home / "campaigns/gone.yaml").symlink_to(home / "nowhere.yaml")
    (home / "campaigns/huge.yaml").write_bytes(b"#" * 4_000_001)
    project = Project.load(home)
    assert set(project.holes) == {"gone", "huge"}
    assert "cannot be read" in project.holes["gone"][0].message
    assert "4,000,001 bytes" in project.holes["huge"][0].message
    assert list(project.live_campaigns()) == ["autumn"]


def test_a_link_that_leads_elsewhere_and_a_pipe_are_findings_and_are_not_read(home: Path) -> None:
    (home / ".env").write_text("WHATSAPP_TOKEN: EAAG-secret\n")
    (home / "campaigns/env.yaml").symlink_to(home / ".env")
    (home / "segments/zero.sql").symlink_to("/dev/zero")
    os.mkfifo(home / "segments/pipe.yaml")
    inside = home / "campaigns" / "..data"  # as Kubernetes mounts files
    inside.mkdir()
    (inside / "linked.yaml").write_text(campaign("linked"))
    (home / "campaigns/linked.yaml").symlink_to(inside / "linked.yaml")
    project = Project.load(home)
    found = {problem.file: problem.message for problem in project.problems}
    assert found["campaigns/env.yaml"] == "it is a link to a file elsewhere"
    assert found["segments/zero.sql"] == "it is a link to a file elsewhere"
    assert found["segments/pipe.yaml"] == "it is no ordinary file"
    assert "EAAG-secret" not in str(project.problems)
    assert "linked" in project.live_campaigns()


def test_a_folder_that_is_a_file_is_a_finding(home: Path) -> None:
    (home / "templates/hello.fr.json").unlink()
    (home / "templates").rmdir()
    (home / "templates").write_text("x", encoding="utf-8")
    assert ("templates", 0) in [(file, line) for file, line, _ in said(Project.load(home))]


def test_known_properties_are_those_that_are_given_and_those_that_the_settings_state(home: Path) -> None:
    (home / "campaigns/zip.yaml").write_text(campaign("zip", user="zip"), encoding="utf-8")
    assert Project.load(home, properties=["first_name"]).problems == ()
    project = Project.load(home, properties=[])
    assert list(project.holes) == ["autumn"]
    project = Project.load(home, properties=[], contacts_loaded=False)
    assert project.holes == {}
    assert [problem.level for problem in project.problems] == ["warning"]


def test_an_attribute_of_a_yaml_segment_is_a_hole(home: Path) -> None:
    text = campaign("staff", segment="staff").replace("{user: first_name, fallback: vous}", "{event: spent}")
    (home / "campaigns/staff.yaml").write_text(text, encoding="utf-8")
    assert [problem.line for problem in Project.load(home).holes["staff"]] == [6]


def test_a_time_that_is_over_is_a_warning_where_the_time_is_known(home: Path) -> None:
    text = campaign("autumn").replace("loyal}", "loyal, when: {at: 2026-12-01 10:00}}")
    (home / "campaigns/autumn.yaml").write_text(text, encoding="utf-8")
    assert Project.load(home).problems == ()
    late = Project.load(home, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert [problem.level for problem in late.problems] == ["warning"]
    assert list(late.live_campaigns()) == ["autumn"]


def test_paths_are_where_the_rest_of_the_house_looks(home: Path) -> None:
    paths = Project.load(home).paths
    assert paths == Paths(home)
    found = [paths.landing, paths.data, paths.ledger, paths.lake, paths.dagster, paths.analytics]
    assert [path.relative_to(home).as_posix() for path in found] == [
        "landing",
        "data",
        "data/ledger.sqlite",
        "data/lake",
        "data/dagster",
        "data/analytics.duckdb",
    ]


def test_loading_a_home_writes_nothing(home: Path) -> None:
    before = sorted(path.as_posix() for path in home.rglob("*"))
    Project.load(home)
    assert sorted(path.as_posix() for path in home.rglob("*")) == before


# --- schemas for editors


def nodes(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [node for one in schema for node in nodes(one)]
    if isinstance(schema, dict):
        return [schema, *(node for one in schema.values() for node in nodes(one))]
    return []


@pytest.mark.parametrize("kind", ["campaign", "settings"])
def test_every_key_of_a_schema_is_described_closed_and_never_null(kind: str) -> None:
    schema = schemas()[kind]
    objects = [node for node in nodes(schema) if "properties" in node and node.get("type") == "object"]
    assert len(objects) >= 5
    for one in objects:
        assert one["additionalProperties"] is False
        for key, node in one["properties"].items():
            shared = schema["$defs"].get(node.get("$ref", "").removeprefix("#/$defs/"), {})
            assert {**shared, **node}.get("description", "").endswith("."), key
            assert ("null" in json.dumps(node)) == (key == "set"), key  # an update may clear a property
    for node in nodes(schema):
        if isinstance(node.get("$ref"), str):
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]


def test_the_schema_of_a_campaign_knows_its_keys_words_and_defaults() -> None:
    schema = schemas()["campaign"]
    assert schema["required"] == ["name", "sender", "entries", "steps"]
    message = schema["$defs"]["TemplateFile"]
    assert message["properties"]["expires"]["default"] == "24h"
    assert "end" in schema["properties"]["steps"]["propertyNames"]["pattern"]
    assert schema["$defs"]["WhenFile"]["properties"]["if_past"]["enum"] == ["skip", "now", "next_day"]
    assert schema["$schema"].startswith("http://json-schema.org/draft-07")


def test_the_schema_of_a_campaign_says_which_keys_stand_together() -> None:
    parts = schemas()["campaign"]["$defs"]
    deeds = ["message", "delay", "wait_for", "split", "experiment", "update"]
    assert parts["StepFile"]["allOf"][0] == {"oneOf": [{"required": [deed]} for deed in deeds]}
    assert {"not": {"required": ["on_read", "on_reply"]}} in parts["StepFile"]["allOf"]
    assert parts["StepFile"]["dependencies"]["on_reply"] == ["message"]
    assert parts["WaitBranchFile"]["dependencies"] == {"where": ["event"], "is": ["reply_to"], "button": ["click"]}
    assert parts["SilentHoursFile"]["properties"]["days_off"]["items"]["enum"][0] == "mon"
    assert parts["SettingsFile"]["properties"]["control_group"]["default"] == "0%"


def test_there_is_a_schema_for_every_kind_of_file_that_people_write() -> None:
    assert set(schemas()) == {"campaign", "segment", "settings"}


def test_the_schema_of_the_settings_says_what_must_be_stated() -> None:
    schema = schemas()["settings"]
    assert schema["required"] == ["region", "timezone", "senders", "consent"]
    assert schema["$defs"]["Sender"]["properties"]["phone_number_id"]["type"] == ["string", "integer"]
