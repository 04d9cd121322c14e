"""What is shown commands no terminal, whoever wrote it."""

import io
import os
import re

import polars as pl
from rich.text import Text

from estafette.terminal import Terminal

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e"


def test_names_of_people_and_files_command_no_terminal(cli, home):
    people = home / "landing/contacts/\x1b]0;file\nfake.csv"
    people.parent.mkdir(parents=True, exist_ok=True)
    people.write_text(f'contact_id,phone,first_name\nc1,0612345678,"{EVIL}Ann"\nc2,"12{EVIL}",Bob\n')
    (people.parent / os.fsdecode(b"na\xff\xfeme.csv")).write_text("contact_id,phone\nc3,n/a\n")
    pl.DataFrame({"contact_id": ["c5"], "phone": ["0612345679"]}).write_parquet(home / "p")
    (home / "p").rename(people.parent / os.fsdecode(b"p\xff.parquet"))
    outside = home / "\x1b[31mout\nside.csv"
    outside.write_text("contact_id,phone\nc4,n/a\n")
    calls = [
        cli("tick"),
        cli("import", str(outside)),
        cli("query", 'SELECT first_name AS "\x1b[31m" FROM contacts'),
        cli("query", "SELECT first_name FROM contacts", "--json"),
        cli("quarantine", "list"),
        cli("quarantine", "list", "--json"),
        cli("why", "c1"),
        cli("why", EVIL),
        cli("status", EVIL),
        cli("doctor"),
    ]
    for one in calls:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", one.out + one.err), one
    assert "Ann" in calls[2].out
    aside = {row["file"] for row in calls[5].json["rows"]}
    assert {"contacts/na\\xff\\xfeme.csv", "contacts/p\\xff.parquet"} < aside  # a pass goes on
    assert calls[3].json["rows"] == [[f"{EVIL}Ann"]]
    assert not any(line.startswith("side.csv") for line in calls[1].out.splitlines())
    assert all(len(one.out) > 1 or one.err for one in calls)


def test_what_estafette_draws_itself_stays() -> None:
    shown = io.StringIO()
    Terminal(file=shown, force_terminal=True, color_system="standard").print(Text(f"{EVIL}né\tx", style="red"))
    assert shown.getvalue().startswith("\x1b[31m") and "\x1b]" not in shown.getvalue()
    assert "né" in shown.getvalue()
