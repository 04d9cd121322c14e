"""What one answer of the Cloud API means for one message, and for what goes out after it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.codes import CODES, Action, action_of, explain
from journey.outcome import Failure, Outcome, decide

ACCEPTED = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": "+33611223344", "wa_id": "33611223344", "user_id": "FR.9081"}],
    "messages": [{"id": "wamid.A1", "message_status": "accepted"}],
}


def refusal(code: object, details: str | None = "more about it", **more: object) -> bytes:
    data = {"messaging_product": "whatsapp", "details": details} if details is not None else None
    return json.dumps(
        {"error": {"message": f"(#{code}) no", "type": "OAuthException", "code": code, "error_data": data, **more}}
    ).encode()


def test_an_answer_with_a_message_id_is_accepted() -> None:
    assert decide(200, json.dumps(ACCEPTED).encode()) == Outcome(
        Action.accepted,
        wamid="wamid.A1",
        message_status="accepted",
        wa_id="33611223344",
        user_id="FR.9081",
        http_status=200,
    )


def test_a_message_that_meta_holds_for_its_quality_is_accepted_and_says_so() -> None:
    held = ACCEPTED | {"messages": [{"id": "wamid.A2", "message_status": "held_for_quality_assessment"}]}
    outcome = decide(200, json.dumps(held).encode())
    assert (outcome.action, outcome.message_status) == (Action.accepted, "held_for_quality_assessment")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"{",
        b"[]",
        b"null",
        b'{"messages":[]}',
        b'{"messages":[{}]}',
        b'{"messages":[{"id":""}]}',
        b'{"messages":[{"id":7}]}',
        b'{"messages":{"id":"wamid.X"}}',
        b'{"success":true}',
        b"\xff\xfe",
        b"[" * 200_000,
    ],
)
def test_a_200_that_names_no_message_leaves_it_unknown(body: bytes) -> None:
    assert decide(200, body).action is Action.unknown


@pytest.mark.parametrize(
    ("code", "status", "action"),
    [
        (131000, 500, Action.retry_soon),
        (131016, 500, Action.retry_soon),
        (1, 400, Action.retry_soon),
        (2, 503, Action.retry_soon),
        (133004, 503, Action.retry_soon),
        (130429, 400, Action.slow_down),
        (80007, 400, Action.slow_down),
        (4, 400, Action.slow_down),
        (131057, 500, Action.slow_down),
        (131056, 400, Action.pair_slow),
        (0, 401, Action.stop_sender),
        (190, 401, Action.stop_sender),
        (3, 500, Action.stop_sender),
        (10, 403, Action.stop_sender),
        (200, 403, Action.stop_sender),
        (299, 403, Action.stop_sender),
        (368, 403, Action.stop_sender),
        (131005, 403, Action.stop_sender),
        (131031, 403, Action.stop_sender),
        (131042, 400, Action.stop_sender),
        (133010, 400, Action.stop_sender),
        (133005, 400, Action.stop_sender),
        (132015, 400, Action.hold_template),
        (132001, 404, Action.stop_template),
        (132007, 400, Action.stop_template),
        (132016, 400, Action.stop_template),
        (131048, 400, Action.hold_campaign),
        (131064, 400, Action.hold_campaign),
        (131052, 400, Action.media_unreachable),
        (131050, 400, Action.opt_out_marketing),
        (131049, 400, Action.marketing_cap),
        (131026, 400, Action.final),
        (131047, 400, Action.final),
        (130472, 400, Action.final),
        (132000, 400, Action.final),
        (132012, 400, Action.final),
        (100, 400, Action.final),
    ],
)
def test_a_refusal_counts_by_its_code(code: int, status: int, action: Action) -> None:
    outcome = decide(status, refusal(code))
    assert (outcome.action, outcome.code, outcome.details) == (action, code, "more about it")
    assert outcome.title == CODES[code].title if code in CODES else outcome.title


def test_the_code_counts_whatever_the_http_status() -> None:
    for status in (200, 400, 401, 403, 404, 429, 500, 503):
        assert decide(status, refusal(190)).action is Action.stop_sender
        assert decide(status, refusal(131026)).action is Action.final


def test_a_number_that_is_not_there_stops_the_sender_and_no_message_is_to_blame() -> None:
    assert decide(400, refusal(100)).action is Action.final
    gone = decide(400, refusal(100, error_subcode=33))
    assert (gone.action, gone.code) == (Action.stop_sender, 33)


def test_a_code_written_as_text_is_a_code() -> None:
    assert decide(400, refusal("130429")).action is Action.slow_down


def test_a_file_that_meta_could_not_fetch_may_come_back_and_a_wrong_file_may_not() -> None:
    fetched = decide(400, refusal(131053, "Downloading media from weblink failed with http code 403"))
    wrong = decide(400, refusal(131053, "Unsupported Image mime type text/html"))
    assert (fetched.action, wrong.action) == (Action.media_unreachable, Action.final)
    assert action_of(131053) is Action.final


def test_an_unknown_code_is_final_and_keeps_metas_words() -> None:
    for status in (400, 500):
        outcome = decide(status, refusal(999_999, None))
        assert (outcome.action, outcome.code, outcome.details) == (Action.final, 999_999, "(#999999) no")


def test_an_unknown_code_that_graph_calls_transient_is_tried_again() -> None:
    assert decide(500, refusal(999_999, is_transient=True)).action is Action.retry_soon
    assert decide(400, refusal(132000, is_transient=True)).action is Action.final


def test_a_refusal_without_a_code_is_final_only_below_500() -> None:
    assert decide(400, refusal(None)).action is Action.final
    assert decide(400, refusal(True)).code is None
    assert decide(500, refusal(None)).action is Action.unknown


@pytest.mark.parametrize("status", [500, 502, 503, 504, 400, 408])
def test_an_error_page_instead_of_an_answer_leaves_the_message_unknown(status: int) -> None:
    for body in (b"", b"<html>Bad gateway</html>", b'{"error":"nope"}', b'{"error":', None):
        assert decide(status, body).action is Action.unknown


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 407, 413])
def test_a_request_that_was_turned_away_by_someone_else_was_not_sent(status: int) -> None:
    assert decide(status, b"<html>who are you</html>").action is Action.not_sent


def test_too_many_requests_slows_down_even_without_a_word() -> None:
    assert decide(429, b"").action is Action.slow_down


def test_no_answer_is_unknown_and_no_connection_is_not_sent() -> None:
    assert decide(None, None, Failure.broken).action is Action.unknown
    assert decide(None, None).action is Action.unknown
    assert decide(None, None, Failure.not_written).action is Action.not_sent
    assert decide(200, json.dumps(ACCEPTED).encode(), Failure.broken).action is Action.unknown


def test_every_code_has_a_title_and_one_plain_sentence_or_more() -> None:
    for code, known in CODES.items():
        assert known.code == code
        assert known.title and not known.title.endswith(".")
        assert known.sentence.endswith(".") and "  " not in known.sentence
    for other in (None, 250, 133999, 424242):
        assert explain(other).sentence.endswith(".")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = ("id", "code", "error_data", "details", "message", "message_status", "wa_id", "is_transient", "user_id")
parts = st.dictionaries(st.sampled_from(keys), json_values, max_size=5)
answers = st.fixed_dictionaries(
    {},
    optional={
        "error": parts | json_values,
        "messages": st.lists(parts, max_size=2) | json_values,
        "contacts": st.lists(parts, max_size=2) | json_values,
    },
)


@given(
    st.none() | st.integers(100, 599),
    st.none() | st.binary(max_size=60) | answers.map(lambda answer: json.dumps(answer).encode()),
    st.none() | st.sampled_from(Failure),
)
def test_reading_an_answer_never_raises_and_always_decides(
    status: int | None, body: bytes | None, error: Failure | None
) -> None:
    outcome = decide(status, body, error)
    assert (outcome.action is Action.accepted) == (outcome.wamid is not None)
    if outcome.wamid is not None:
        assert error is None and status is not None and 200 <= status < 300
    assert outcome.code is None or 0 <= outcome.code < 2**31
