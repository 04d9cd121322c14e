"""`estafette.yaml` and the secrets."""

from datetime import time, timedelta
from pathlib import Path

import pytest

from journey.campaign import SilentHours
from journey.problems import ProjectError
from journey.steps import FrequencyCap
from resources.settings import Secrets, Settings, load_secrets, load_settings

MINIMAL = """\
region: FR
timezone: Europe/Paris
senders:
  main: {phone_number_id: "106540352242922", waba_id: "102290129340398"}
consent: {default: opted_in}
"""

NAMES = [
    "WHATSAPP_TOKEN",
    "WHATSAPP_APP_SECRET",
    "WHATSAPP_VERIFY_TOKEN",
    "ESTAFETTE_LEDGER_URL",
    "WHATSAPP_API_URL",
    "WHATSAPP_API_VERSION",
]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def load(text: str) -> Settings:
    settings, problems = load_settings(text)
    assert settings is not None and not problems, problems
    return settings


def test_what_is_not_written_has_its_default() -> None:
    settings = load(MINIMAL)
    assert settings.senders["main"].messages_per_second == 80
    assert settings.stop_words.all == ["STOP", "ARRET", "UNSUBSCRIBE"]
    assert settings.stop_words.start == ["START"]
    assert (settings.media.check, settings.media.allow_private) == (True, False)
    assert settings.properties == {}
    assert (settings.silent_hours, settings.frequency_cap, settings.holdout) == (None, None, 0)
    assert settings.links.base_url is None


def test_every_setting_is_read() -> None:
    text = MINIMAL.replace('398"}', '398", messages_per_second: 500}').replace("opted_in", "not_opted_in") + (
        "stop_words: {all: [STOP, NEIN, no], start: [LOS]}\n"
        "media: {check: false, allow_private: true}\n"
        "properties: {zip: text, spent: double}\n"
        'silent_hours: {from: 21:00, to: "08:00", days_off: [sun], timezone: Europe/Paris}\n'
        "frequency_cap: {messages: 2, per: 7d}\n"
        "holdout: 2.5%\n"
        "links: {base_url: https://go.example.com/estafette/}\n"
    )
    settings = load(text)
    assert settings.senders["main"].messages_per_second == 500
    assert settings.consent.default == "not_opted_in"
    assert settings.stop_words.all == ["STOP", "NEIN", "no"]
    assert settings.media.allow_private
    assert settings.properties == {"zip": "text", "spent": "double"}
    assert settings.silent_hours == SilentHours(
        start=time(21), end=time(8), days_off=frozenset({6}), timezone="Europe/Paris"
    )
    assert settings.frequency_cap == FrequencyCap(messages=2, per=timedelta(days=7))
    assert settings.holdout == 0.025
    assert settings.links.base_url == "https://go.example.com/estafette"


def test_that_there_is_no_such_rule_may_be_said() -> None:
    settings = load(MINIMAL + "silent_hours: none\nfrequency_cap: none\nholdout: 0%\nlinks: {base_url: none}\n")
    assert settings == load(MINIMAL)


def test_an_id_may_be_written_without_quotes() -> None:
    settings = load(MINIMAL.replace('"106540352242922"', "106540352242922"))
    assert settings.senders["main"].phone_number_id == "106540352242922"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("region: FR\n", "", 1, "region", "numbers written the national way, e.g. FR)"),
        ("timezone: Europe/Paris\n", "", 1, "timezone", "`timezone` is missing"),
        ("consent: {default: opted_in}\n", "", 1, "consent", "`consent` is missing. Add `consent:` (What is assumed"),
        ("region: FR", "region: fr", 1, "region", "Write `FR`."),
        ("region: FR", "region: France", 1, "region", "two letters"),
        ("region: FR", "region: no", 1, "region", "Write `NO`."),
        ("Europe/Paris", "Paris", 2, "timezone", "no known time zone"),
        ("Europe/Paris", "europe/paris", 2, "timezone", "Did you mean Europe/Paris?"),
        ('"106540352242922"', '"+33 6 12"', 4, "senders.main.phone_number_id", "digits only"),
        ('"106540352242922"', "true", 4, "senders.main.phone_number_id", "digits only"),
        ('phone_number_id: "106540352242922", ', "", 4, "senders.main.phone_number_id", "is missing"),
        ("waba_id", "wabaid", 4, "senders.main.wabaid", "Did you mean `waba_id`?"),
        ('398"', '398", messages_per_second: 0', 4, "senders.main.messages_per_second", "from 1"),
        ('398"', '398", messages_per_second: 2000', 4, "senders.main.messages_per_second", "up to 1000"),
        ('398"', '398", messages_per_second: "80"', 4, "senders.main.messages_per_second", "without quotes"),
        ("  main:", "  my phone:", 4, "senders.my phone", "cannot name a sender"),
        ("default: opted_in", "default: yes", 5, "consent.default", "Known: `not_opted_in`, `opted_in`."),
        ("consent: {default: opted_in}", "consent: opted_in", 5, "consent", "Write e.g. {default: not_opted_in}."),
        ("opted_in}", "opted_in}\nproperties: {zip: txt}", 6, "properties.zip", "Did you mean `text`?"),
        ("opted_in}", "opted_in}\nmedia: {check: off}", 6, "media.check", "true or false"),
        ("opted_in}", "opted_in}\nstop_words: {all: ['?']}", 6, "stop_words.all[0]", "no letter or digit"),
        ("opted_in}", "opted_in}\nstop_words: {all: [0]}", 6, "stop_words.all[0]", "quotes"),
        ("opted_in}", "opted_in}\nsilent_hours: never", 6, "silent_hours", "Known: `none`. Or write e.g. {from: "),
        ("opted_in}", "opted_in}\nsilent_hours: {from: 21:00}", 6, "silent_hours", "no `to`"),
        ("opted_in}", "opted_in}\nsilent_hours: {}", 6, "silent_hours", "silence nothing"),
        ("opted_in}", "opted_in}\nsilent_hours: {from: 9, to: 10:00}", 6, "silent_hours.from", "no time of day"),
        ("opted_in}", "opted_in}\nsilent_hours: {from: 21:00, to: 24:00}", 6, "silent_hours.to", '"00:00"'),
        ("opted_in}", "opted_in}\nsilent_hours: {from: 8:00, to: 08:00}", 6, "silent_hours.to", "`days_off`"),
        ("opted_in}", "opted_in}\nsilent_hours: {days_off: [monday]}", 6, "silent_hours.days_off[0]", "`mon`?"),
        (
            "opted_in}",
            "opted_in}\nsilent_hours: {days_off: [mon, tue, wed, thu, fri, sat, sun]}",
            6,
            "silent_hours.days_off",
            "no message could ever go out",
        ),
        (
            "opted_in}",
            "opted_in}\nsilent_hours: {days_off: [sun], timezone: Paris}",
            6,
            "silent_hours.timezone",
            "Or write contact.",
        ),
        ("opted_in}", "opted_in}\nfrequency_cap: ignore", 6, "frequency_cap", "Did you mean `none`?"),
        ("opted_in}", "opted_in}\nfrequency_cap: {messages: 0, per: 7d}", 6, "frequency_cap.messages", "from 1"),
        ("opted_in}", "opted_in}\nholdout: 5", 6, "holdout", "Write 5%"),
        ("opted_in}", "opted_in}\nholdout: 100%", 6, "holdout", "leaves nobody"),
        ("opted_in}", "opted_in}\nholdout: few", 6, "holdout", "Write e.g. 5%."),
        ("opted_in}", "opted_in}\nlinks: {base_url: go.example.com}", 6, "links.base_url", "https://go.example.com"),
        (
            "opted_in}",
            "opted_in}\nlinks: {base_url: 'https://a.b/?c=d'}",
            6,
            "links.base_url",
            "Write e.g. https://a.b.",
        ),
        ("opted_in}", "opted_in}\nregoin: FR", 6, "regoin", "Did you mean `region`?"),
        ("opted_in}", "opted_in}\nregion: BE", 6, "region", "twice"),
        ("opted_in}", "opted_in", 5, "", "not YAML"),
    ],
)
def test_a_mistake_is_one_finding_with_its_line_its_field_and_its_mend(
    old: str, new: str, line: int, field: str, words: str
) -> None:
    text = MINIMAL.replace(old, new, 1)
    assert text != MINIMAL
    settings, problems = load_settings(text)
    assert settings is None
    assert len(problems) == 1, problems
    problem = problems[0]
    assert (problem.file, problem.line, problem.field) == ("estafette.yaml", line, field)
    assert words in f"{problem.message}. {problem.mend}"


def test_a_project_without_senders_cannot_send() -> None:
    settings, problems = load_settings(MINIMAL.split("senders")[0] + "senders: {}\nconsent: {default: opted_in}\n")
    assert settings is None
    assert [problem.field for problem in problems] == ["senders"]


# --- secrets


def test_secrets_have_defaults_that_reach_meta_and_hold_nothing(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path)
    assert secrets.whatsapp_token is None and secrets.ledger_url is None
    assert (secrets.api_url, secrets.api_version) == ("https://graph.facebook.com", "v25.0")
    assert secrets.is_meta


def test_secrets_come_from_the_dotenv_of_the_home_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "WHATSAPP_TOKEN=from-file\nexport WHATSAPP_APP_SECRET='s p'\nOTHER=1\nWHATSAPP_VERIFY_TOKEN=\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("WHATSAPP_TOKEN", "from-environment")
    monkeypatch.setenv("WHATSAPP_API_URL", "http://127.0.0.1:8001/")
    secrets = load_secrets(tmp_path)
    assert secrets.whatsapp_token is not None
    assert secrets.whatsapp_token.get_secret_value() == "from-environment"
    assert secrets.whatsapp_app_secret is not None
    assert secrets.whatsapp_app_secret.get_secret_value() == "s p"
    assert secrets.whatsapp_verify_token is None
    assert secrets.api_url == "http://127.0.0.1:8001"
    assert not secrets.is_meta


def test_the_dotenv_of_another_folder_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("WHATSAPP_TOKEN=elsewhere\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    assert load_secrets(tmp_path / "home").whatsapp_token is None


def test_secrets_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[:4]:
        monkeypatch.setenv(name, "EAAG-very-secret")
    secrets = load_secrets(tmp_path)
    shown = f"{secrets!r} {secrets} {secrets.model_dump()} {secrets.model_dump_json()}"
    assert "EAAG" not in shown


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WHATSAPP_API_URL", "graph.hidden.example", "is no address. Write e.g. https://graph.facebook.com."),
        ("WHATSAPP_API_URL", "https://user:hidden@graph.facebook.com", "holds a password"),
        ("WHATSAPP_API_URL", "https://graph.facebook.com?access_token=hidden", "is no address"),
        ("WHATSAPP_API_VERSION", "hidden", "is no version of the Graph API. Write e.g. v25.0."),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_and_its_value_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ProjectError) as caught:
        load_secrets(tmp_path)
    assert name in str(caught.value)
    assert words in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_dotenv_that_is_no_text_is_refused_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"WHATSAPP_TOKEN=\xff\xfe\n")
    with pytest.raises(ProjectError, match="UTF-8"):
        load_secrets(tmp_path)


@pytest.mark.parametrize(
    ("url", "meta"),
    [
        ("https://graph.facebook.com", True),
        ("https://GRAPH.Facebook.com./v1", True),
        ("https://graph.facebook.com.example.com", False),
        ("https://notfacebook.com", False),
        ("http://localhost:8001", False),
    ],
)
def test_metas_real_address_is_told_from_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, meta: bool
) -> None:
    monkeypatch.setenv("WHATSAPP_API_URL", url)
    assert load_secrets(tmp_path).is_meta is meta


def test_secrets_cannot_be_given_by_keyword() -> None:
    assert Secrets(WHATSAPP_TOKEN="x").whatsapp_token is None
