"""`check` on a home: media that cannot be fetched, coupons that are too few, properties that only campaigns write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.estafette.conftest import Cli
from tests.media_server import MediaServer, Page, media_server

GIFT = """\
name: gift
sender: main
entries: [{audience: {segment: everyone}}]
steps:
  gift:
    message:
      template: voucher_gift
      language: fr
      variables: {first_name: {user: first_name, fallback: vous}}
      coupons: {pool: gifts}
"""


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as made:
        yield made


def with_picture(home: Path, url: str, media: str) -> int:
    """The home's example with this picture; gives the line on which it stands."""
    settings = home / "estafette.yaml"
    lines = settings.read_text("utf-8").splitlines()
    settings.write_text("\n".join(media if "check: false" in line else line for line in lines) + "\n", "utf-8")
    (home / "campaigns" / "loyal_gift.yaml").unlink()  # it has a picture too
    file = home / "campaigns" / "autumn_offer.yaml"
    file.write_text(file.read_text("utf-8").replace("https://cdn.example.com/autumn.jpg", url), "utf-8")
    return next(n for n, line in enumerate(file.read_text("utf-8").splitlines(), 1) if url in line)


def test_a_picture_that_is_there_is_looked_at_and_nothing_is_said(cli: Cli, home: Path, server: MediaServer) -> None:
    server.pages["/a.jpg"] = Page()
    with_picture(home, f"{server.url}/a.jpg", "  allow_private: true")
    assert cli("check").code == 0
    assert [path for _, path, _ in server.asked] == ["/a.jpg"]


def test_a_picture_that_is_not_there_is_an_error_that_stops_nothing(cli: Cli, home: Path, server: MediaServer) -> None:
    line = with_picture(home, f"{server.url}/a.jpg", "  allow_private: true")
    said = cli("check", "--json")
    assert said.code == 1
    [problem] = said.json["problems"]
    assert (problem["file"], problem["line"]) == ("campaigns/autumn_offer.yaml", line)
    assert problem["field"] == "steps.offer.message.header.image"
    assert f"{server.url}/a.jpg cannot be fetched: its server answers HTTP 404" in problem["message"]
    assert said.json["campaigns"]["autumn_offer"] == "live"


def test_an_address_of_a_private_network_is_refused_without_being_asked(
    cli: Cli, home: Path, server: MediaServer
) -> None:
    server.pages["/a.jpg"] = Page()
    with_picture(home, f"{server.url}/a.jpg", "  allow_private: false")
    [problem] = cli("check", "--json").json["problems"]
    assert "Write a public address" in problem["mend"]
    assert server.asked == []


@pytest.mark.parametrize(("arguments", "media"), [(["--offline"], "  allow_private: true"), ([], "  check: false")])
def test_nothing_is_fetched_offline_or_where_the_settings_say_so(
    cli: Cli, home: Path, server: MediaServer, arguments: list[str], media: str
) -> None:
    with_picture(home, f"{server.url}/a.jpg", media)
    assert cli("check", *arguments).code == 0
    assert server.asked == []


def test_too_few_coupons_are_a_warning_with_how_many_people_there_are(cli: Cli, home: Path, tmp_path: Path) -> None:
    (home / "campaigns" / "gift.yaml").write_text(GIFT, encoding="utf-8")
    (home / "segments" / "everyone.sql").write_text("select contact_id from contacts", encoding="utf-8")
    contacts = tmp_path / "three.csv"
    contacts.write_text("contact_id,phone\na,+33612345601\nb,+33612345602\nc,+33612345603\n", encoding="utf-8")
    assert cli("import", str(contacts)).code == 0
    unknown = cli("check", "gift", "--json")
    assert unknown.code == 0
    [problem] = unknown.json["problems"]
    assert problem["message"] == "no codes have come in for the pool `gifts`"
    pool = home / "gifts.csv"
    pool.write_text("vouchers\nA1\nA2\n", encoding="utf-8")
    assert cli("import", "--as", "coupons", str(pool)).code == 0
    [problem] = cli("check", "gift", "--json").json["problems"]
    assert problem["level"] == "warning"
    assert problem["message"] == "the pool `gifts` has 2 free codes for 3 people"


def test_a_property_that_only_another_campaign_writes_is_known(cli: Cli, home: Path, people: tuple[Path, Path]) -> None:
    head = "name: %s\nsender: main\nentries: [{api: {}}]\nsteps:\n  a: "
    split = head % "split" + "{split: {branches: [{user: {mood: warm}, next: end}]}}\n"
    mark = head % "mark" + "{update: {set: {mood: warm}}}\n"
    (home / "campaigns" / "split.yaml").write_text(split, encoding="utf-8")
    assert cli("import", str(people[0])).code == 0
    assert "`mood`" in cli("check", "split").out
    (home / "campaigns" / "mark.yaml").write_text(mark, encoding="utf-8")
    assert cli("check", "split").code == 0
