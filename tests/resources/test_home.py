"""An open home: the looks that several verbs share."""

import pytest

from journey.problems import SegmentError


def with_segment(make_home, sql: str):
    stage = make_home()
    (stage.home.path / "segments" / "asked.sql").write_text(sql, encoding="utf-8")
    stage.reload()
    return stage.home


def test_an_sql_segment_says_its_further_columns_without_being_run(make_home):
    home = with_segment(make_home, "select contact_id, 1 as n, error('run') as never from contacts; -- end")
    assert home.segment_columns("asked") == ("n", "never")


@pytest.mark.parametrize(
    ("sql", "words"),
    [("select phone from contacts", "no column `contact_id`"), ("select contact_id, nope from contacts", "nope")],
)
def test_an_sql_segment_that_cannot_run_is_told_before_it_does(make_home, sql: str, words: str):
    home = with_segment(make_home, sql)
    with pytest.raises(SegmentError, match=words):
        home.segment_columns("asked")
