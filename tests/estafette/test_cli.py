"""What every command has in common: options before and after it, exit codes, errors as sentences, start-up."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from estafette.cli import hoisted, main


def test_options_of_every_command_may_stand_before_or_after_it(home, capsys):
    assert main(["--home", str(home), "--json", "check"]) == 0
    before = capsys.readouterr().out
    assert main(["check", f"--home={home}", "--json"]) == 0
    assert capsys.readouterr().out == before
    assert json.loads(before)["ok"] is True


def test_nothing_after_two_dashes_is_taken_for_an_option():
    assert hoisted(["query", "--json", "--", "--home"]) == ["--json", "query", "--", "--home"]


def test_the_environment_names_the_home_and_the_time(home, capsys, monkeypatch):
    monkeypatch.setenv("ESTAFETTE_HOME", str(home))
    monkeypatch.setenv("ESTAFETTE_NOW", "2026-10-05 10:00")
    assert main(["status", "--json"]) == 0
    # A time without a zone is in the settings' timezone, Europe/Paris.
    assert json.loads(capsys.readouterr().out)["now"] == "2026-10-05T08:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["stats"], "Did you mean `status`?"),
        (["check", "--nope"], "No such option: --nope"),
        (["run"], "Missing argument 'CAMPAIGN'"),
        (["preview", "autumn_offer"], "Missing option '--contact'"),
        (["check", "--home"], "--home: a value is missing"),
        (["schema", "campain"], "Did you mean `campaign`?"),
        (["sandbox", "--mode", "wild"], "there is no mode `wild`"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_where_help_is(arguments, said, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_time_that_is_none_is_wrong_usage(cli):
    found = cli("tick", now="yesterday")
    assert (found.code, found.out) == (2, "")
    assert "--now: 'yesterday' is not a date with a time" in found.err


def test_an_error_is_a_sentence_on_stderr_and_with_json_a_document_on_stdout(cli):
    plain, as_json = cli("run", "autum_offer"), cli("run", "autum_offer", "--json")
    assert (plain.code, plain.out) == (1, "")
    assert plain.err == "estafette: there is no campaign `autum_offer`. Did you mean `autumn_offer`?\n"
    assert as_json.code == 1
    assert as_json.json["error"] == {
        "message": "there is no campaign `autum_offer`",
        "where": "",
        "mend": "Did you mean `autumn_offer`?",
    }


def test_a_folder_without_settings_is_no_home_and_nothing_is_written_there(tmp_path, capsys):
    for command in (["status"], ["check"], ["tick"], ["doctor"], ["query", "SELECT 1"], ["import", "x.csv"]):
        assert main([*command, "--home", str(tmp_path)]) == 1
        assert "estafette init DIR" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_turned_clock_is_refused_against_meta(cli, home):
    (home / ".env").write_text("WHATSAPP_TOKEN=EAAG-a-token-nobody-may-see\n")
    found = cli("tick")
    assert found.code == 2
    assert "the clock can't be turned while messages go to Meta" in found.err


def test_a_fault_nobody_foresaw_is_a_sentence_without_secrets(cli, monkeypatch):
    def fault(*_: object) -> None:
        raise RuntimeError("Bearer EAAG-a-token-nobody-may-see was not liked")

    monkeypatch.setattr("estafette.status.status", fault)
    found = cli("status")
    assert found.code == 1
    assert "RuntimeError: Bearer … was not liked" in found.err
    assert "ESTAFETTE_DEBUG=1" in found.err


def test_a_fault_that_is_its_own_cause_is_a_sentence_too(cli, monkeypatch):
    def fault(*_: object) -> None:
        first, second = RuntimeError("first"), RuntimeError("second")
        first.__context__, second.__context__ = second, first
        raise first

    monkeypatch.setattr("estafette.status.status", fault)
    found = cli("status")
    assert (found.code, "RuntimeError: first" in found.err) == (1, True)


def test_an_interrupt_says_what_goes_on_with_what_was_left_where_something_was(cli, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("status.status", "ticking.tick", "backing_up.backup"):
        monkeypatch.setattr(f"estafette.{place}", interrupted)
    found = cli("--json", "tick")
    assert (found.code, found.out) == (130, "")
    assert found.err == "stopped; nothing is lost, and `estafette tick` goes on with what was left\n"
    assert cli("status").err == "stopped\n"
    assert "the same command begins anew" in cli("backup", "there").err


def test_help_comes_without_the_heavy_libraries():
    code = (
        "import sys; from estafette.cli import main; main(['--help']);"
        " print([m for m in ('dagster', 'polars', 'duckdb', 'sqlalchemy', 'fastapi', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "until-idle" not in done.stdout
    for command in ("demo", "init", "check", "run", "tick", "status", "serve", "templates"):
        assert f"  {command} " in done.stdout


def test_status_and_query_do_not_import_dagster(home):
    status = f"main(['status', '--home', {str(home)!r}])"
    code = f"import sys; from estafette.cli import main; {status}; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_script_gives_the_exit_code():
    script = Path(sys.executable).parent / "estafette"
    assert subprocess.run([script, "check", "--nope"], capture_output=True, check=False).returncode == 2


def test_an_error_that_nobody_foresaw_is_said_however_it_was_wrapped(home, capsys, monkeypatch):
    def wrapped(*_):
        fault = TypeError("nobody saw this coming")
        try:
            raise RuntimeError("an op failed") from fault
        except RuntimeError:
            raise fault  # noqa: B904 - as Dagster does: each of the two came of the other

    monkeypatch.setattr("estafette.counts.snapshot", wrapped)
    monkeypatch.setattr("estafette.ticking.snapshot", wrapped)
    assert main(["--home", str(home), "--now", "2026-10-05 10:00", "tick"]) == 1
    assert "TypeError: nobody saw this coming" in capsys.readouterr().err


def test_the_version_is_said(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"estafette \d+\.\d+\.\d+\n", capsys.readouterr().out)
