"""docs/connect-whatsapp.md: what it names is there."""

import json
import re

import pytest

from journey.codes import CODES, explain
from journey.webhook import parse
from resources.settings import Secrets, Sender
from tests.docs.pages import DOCS, rows

PAGE = "connect-whatsapp.md"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")


def test_every_variable_and_key_of_the_page_is_read_by_the_settings() -> None:
    known = {str(field.validation_alias) for field in Secrets.model_fields.values()}
    named = set(re.findall(r"\bWHATSAPP_[A-Z_]+\b", TEXT))
    assert named and named <= known
    assert {"WHATSAPP_TOKEN", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"} <= named
    assert all(f"`{key}`" in TEXT for key in ("phone_number_id", "waba_id", "messages_per_second"))
    assert set(re.findall(r"`([a-z]+_[a-z_]+)` of (?:a|the) sender", TEXT)) <= set(Sender.model_fields)


@pytest.mark.parametrize("row", rows(PAGE, "webhook field", "what Estafette does with it"), ids=str)
def test_every_webhook_field_of_the_page_is_one_that_is_read(row: dict[str, str]) -> None:
    field = row["webhook field"]
    content: dict[str, object] = {
        "messages": {"statuses": [{"id": "w", "status": "sent", "timestamp": "1"}]},
        "user_preferences": {"user_preferences": [{"wa_id": "336", "value": "stop", "timestamp": 1}]},
        "message_template_status_update": {"message_template_name": "t", "event": "PAUSED"},
    }.get(field, {"event": "FLAGGED"})
    body = {"object": "whatsapp_business_account", "entry": [{"changes": [{"field": field, "value": content}]}]}
    parsed = parse([(1, json.dumps(body).encode())])
    assert parsed.bad.is_empty() and parsed.other.is_empty()


@pytest.mark.parametrize("row", rows(PAGE, "code", "what it is", "do"), ids=str)
def test_every_code_of_the_page_is_one_that_is_known(row: dict[str, str]) -> None:
    code = int(row["code"])
    assert code in CODES or 200 <= code <= 299
    resumes = "resume" in row["do"]
    assert not resumes or explain(code).action in ("stop_sender", "hold_campaign")
