"""`quarantine list` and `quarantine retry`."""


def test_what_could_not_be_read_is_listed_and_read_again(cli, home):
    file = home / "landing/contacts/people.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("contact_id;phone\nc1;n/a\nc2;0612345678\n")
    other = home / "landing/events/log.ndjson"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("{broken\n")
    assert cli("quarantine", "retry", "--all").code == 0
    rows = cli("quarantine", "list", "--json").json["rows"]
    assert [(row["file"], row["line"], row["raw"]) for row in rows] == [
        ("contacts/people.csv", 2, "c1;n/a"),
        ("events/log.ndjson", 1, "{broken"),
    ]
    assert len(cli("quarantine", "list", "--source", "events", "--json").json["rows"]) == 1
    assert len(cli("quarantine", "list", "--file", "people.csv", "--json").json["rows"]) == 1
    assert "c1;n/a" in cli("quarantine", "list").out
    stays = cli("quarantine", "retry", str(rows[0]["id"]), "--json").json
    assert (stays["read"], stays["stay"]) == (0, 1)
    file.write_text("contact_id;phone\nc1;0611111111\nc2;0612345678\n")
    done = cli("quarantine", "retry", "--file", "contacts/people.csv")
    assert "1 mended in their files" in done.out
    assert "0 stay" in done.out
    assert [row["file"] for row in cli("quarantine", "list", "--json").json["rows"]] == ["events/log.ndjson"]


def test_a_retry_names_its_rows(cli):
    found = cli("quarantine", "retry")
    assert found.code == 2
    assert "--all" in found.err
    assert "there is no row 7" in cli("quarantine", "retry", "7").err
