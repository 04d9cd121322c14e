"""Meta's Cloud API, the reading half: templates and phone numbers.

What belongs here: a few synchronous reads with patience for Meta's limits, and the care for address and token that
`posting`, the sending half, shares. What an answer means is `journey.outcome`.

The token stands in a header only, and in nothing that is logged, raised or returned: Meta quotes a malformed token in
its error text, so that text is cleaned of it.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from journey.codes import NOT_THERE, Action, explain
from journey.outcome import Outcome, decide
from journey.problems import CloudApiError

CONNECT_TIMEOUT = 5.0  # seconds until a connection stands
READ_TIMEOUT = 30.0
LONGEST_ANSWER = 10 * 1024 * 1024  # bytes, of a page of templates; and an answer takes twice its time-out at most
TRIES = 5  # of one read, waiting 1, 2, 4 and 8 seconds in between
LONGEST_WAIT = 60.0
PAGE = 100
MOST_PAGES = 500  # Meta keeps 6,000 templates for an account at most

TEMPLATE_FIELDS = (
    "id,name,language,status,category,previous_category,components,parameter_format,quality_score,rejected_reason"
)
PHONE_FIELDS = (
    "id,display_phone_number,verified_name,quality_rating,throughput,whatsapp_business_manager_messaging_limit,"
    "name_status,code_verification_status,status"
)


@dataclasses.dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A sender as Meta sees it; what Meta doesn't say is None.

    `quality`: GREEN, YELLOW, RED, NA or UNKNOWN. `throughput`: STANDARD (80 messages a second), HIGH (1,000),
    NOT_APPLICABLE. `messaging_limit`: TIER_250 … TIER_UNLIMITED, people a day outside the window, of the whole
    portfolio. `status`: CONNECTED, FLAGGED, RESTRICTED, BANNED, ….
    """

    id: str
    display_phone_number: str | None = None
    verified_name: str | None = None
    quality: str | None = None
    throughput: str | None = None
    messaging_limit: str | None = None
    name_status: str | None = None
    code_verification_status: str | None = None
    status: str | None = None


class CloudApi:
    """Reads from Meta: templates and phone numbers. Every fault is a CloudApiError that says what to do.

    `base_url` without a version, `version` like v25.0. `tries` of one read, each of at most `timeout` seconds.
    `transport` and `sleep` are for tests.
    """

    def __init__(
        self,
        base_url: str,
        version: str,
        token: SecretStr,
        *,
        tries: int = TRIES,
        timeout: float = READ_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base, self._host = base_of(base_url, version)
        self._token, self._sleep, self._tries, self._timeout = checked_token(token), sleep, tries, timeout
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "estafette"},
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            transport=transport,
            trust_env=not is_loopback(self._host),
        )

    def __repr__(self) -> str:
        return f"CloudApi({self._base!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def templates(self, waba_id: str) -> Iterator[dict[str, Any]]:
        """Every template of an account, one a (name, language), as Meta's GET returns it; reads page after page.

        The last page is the one without `next`: `cursors.after` is there on all of them. Of `next` only its being there
        counts: it is an address with the token in it, and where it leads is for the settings to say.
        """
        params = {"fields": TEMPLATE_FIELDS, "limit": str(PAGE)}
        seen: set[str] = set()
        while True:
            page = self._get(f"{waba_id}/message_templates", params)
            rows = page.get("data")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise self._odd("the list of templates has no `data`")
            yield from rows
            paging = page.get("paging")
            if not isinstance(paging, dict) or not paging.get("next"):
                return
            cursors = paging.get("cursors")
            after = cursors.get("after") if isinstance(cursors, dict) else None
            if not isinstance(after, str) or not after or after in seen:
                raise self._odd("the list of templates has a next page and no new cursor to it")
            if len(seen) >= MOST_PAGES:
                raise self._odd(f"the list of templates goes on after {MOST_PAGES} pages")
            seen.add(after)
            params["after"] = after

    def phone_number(self, phone_number_id: str) -> PhoneNumber:
        """What Meta knows of a sender."""
        found = self._get(phone_number_id, {"fields": PHONE_FIELDS})
        throughput = found.get("throughput")
        level = throughput.get("level") if isinstance(throughput, dict) else throughput
        texts = {key: value for key, value in found.items() if isinstance(value, str)}
        return PhoneNumber(
            id=texts.get("id", phone_number_id),
            display_phone_number=texts.get("display_phone_number"),
            verified_name=texts.get("verified_name"),
            quality=texts.get("quality_rating"),
            throughput=level if isinstance(level, str) else None,
            messaging_limit=texts.get("whatsapp_business_manager_messaging_limit"),
            name_status=texts.get("name_status"),
            code_verification_status=texts.get("code_verification_status"),
            status=texts.get("status"),
        )

    def _get(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """One read, with a few tries where Meta says that it is busy."""
        tried = 0
        while True:
            answer = self._once(path, params)
            if isinstance(answer, dict):
                return answer
            error, wait = answer
            tried += 1
            if wait is None or tried >= self._tries:
                raise error
            self._sleep(min(max(wait, 2.0 ** (tried - 1)), LONGEST_WAIT))

    def _once(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | tuple[CloudApiError, float | None]:
        """One try: the answer, or what is wrong and how many seconds to wait at least (None: no use to try again)."""
        try:
            with self._client.stream("GET", f"{self._base}/{path}", params=params) as response:
                content = self._content(response)
        except httpx.ConnectError as error:
            return self._unreached(error), None
        except httpx.TimeoutException:
            return CloudApiError(f"{self._host} does not answer", mend="Try again later."), 0.0
        except httpx.HTTPError as error:
            broken = f"the connection to {self._host} broke ({self._clean(str(error))})"
            return CloudApiError(broken, mend="Try again later."), 0.0
        if content is None:
            return self._odd(f"it answers more than {LONGEST_ANSWER >> 20} MB"), None
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if response.is_success and isinstance(body, dict) and "error" not in body:
            return body
        fault = body.get("error") if isinstance(body, dict) else None
        if not isinstance(fault, dict):
            if response.status_code == 429 or response.status_code >= 500:
                busy = f"{self._host} answers HTTP {response.status_code} and no more"
                return CloudApiError(busy, mend="Try again later."), retry_after(response)
            kind = response.headers.get("content-type", "nothing").partition(";")[0]
            return self._odd(f"it answers HTTP {response.status_code} with {kind}"), None
        outcome = decide(response.status_code, content)
        again = outcome.action in (Action.slow_down, Action.retry_soon) or response.status_code == 429
        return self._refused(outcome), (retry_after(response) if again else None)

    def _content(self, response: httpx.Response) -> bytes | None:
        """The body of an answer; None where it is longer than any of Meta's. TimeoutException: it drips."""
        chunks, length, deadline = [], 0, time.monotonic() + 2 * self._timeout
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            length += len(chunk)
            if length > LONGEST_ANSWER:
                return None
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer takes too long")
        return b"".join(chunks)

    def _refused(self, outcome: Outcome) -> CloudApiError:
        code = outcome.code
        said = self._clean(outcome.details or "no reason given")
        mend = explain(code).sentence
        if code == NOT_THERE:
            mend = "Correct phone_number_id and waba_id in estafette.yaml, or let the token's user see them."
        elif outcome.action is Action.slow_down:
            mend = "Meta limits how often this may be asked. Try again in an hour."
        return CloudApiError(f"Meta refused: {said.rstrip('.')} (code {code})", mend=mend)

    def _unreached(self, error: httpx.ConnectError) -> CloudApiError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            mend = "Name your network's certificates in SSL_CERT_FILE, or correct WHATSAPP_API_URL."
            return CloudApiError(f"the certificate of {self._host} is not one to trust", mend=mend)
        mend = "Check the network and WHATSAPP_API_URL."
        if is_loopback(self._host):
            mend = "Start the sandbox with `estafette sandbox`, or correct WHATSAPP_API_URL."
        return CloudApiError(f"no connection to {self._host} ({self._clean(str(error))})", mend=mend)

    def _odd(self, what: str) -> CloudApiError:
        return CloudApiError(f"{self._host} is not Meta's Cloud API: {what}", mend="Correct WHATSAPP_API_URL.")

    def _clean(self, text: str) -> str:
        return text.replace(self._token, "…")


def base_of(base_url: str, version: str) -> tuple[str, str]:
    """The address up to the version, and host:port for people. Raises CloudApiError."""
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise CloudApiError("the address of the Cloud API is not one", mend="Correct WHATSAPP_API_URL.")
    return f"{base_url.strip().rstrip('/')}/{version.strip('/')}", parts.netloc


def checked_token(token: SecretStr) -> str:
    """The token as a header takes it. Raises CloudApiError, which doesn't show it."""
    text = token.get_secret_value().strip()
    if not text:
        raise CloudApiError("there is no token", mend="Put the token from Meta's business settings in WHATSAPP_TOKEN.")
    if not text.isascii() or not text.isprintable() or " " in text:  # a header's own error would show the token
        raise CloudApiError("the token holds a character that tokens don't have", mend="Copy WHATSAPP_TOKEN again.")
    return text


def is_loopback(host: str) -> bool:
    """Whether host:port is this machine, which no proxy of the environment knows."""
    name = urlsplit(f"//{host}").hostname or ""
    return name in ("localhost", "::1") or name.startswith("127.")


def retry_after(response: httpx.Response) -> float:
    """Seconds that an answer asks to wait for; 0 where it does not."""
    wait = response.headers.get("retry-after", "")
    return float(wait[:9]) if wait.isascii() and wait.isdigit() else 0.0
