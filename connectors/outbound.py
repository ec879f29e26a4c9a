"""Calls to other systems: how each answer is told apart, once for all clients.

- The answer promised: done.
- A 4xx: `EndpointRefused`, the system understood and will not. But 401, 407, 408, 425 and 429 say nothing about what was asked
  (credentials, time, load), so they are failures.
- Everything else, no answer among it, and an answer that is not what was promised: `EndpointFailed`, to be tried again.
- What cannot be made into a request at all says nothing about the endpoint: `CannotSend`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from connectors.texts import masked

T = TypeVar("T")
MAX_ANSWER_BYTES = 1 << 20
MAX_WORDS = 300
MAX_RETRY_AFTER_S = 86_400
KEY_HEADER = "Idempotency-Key"
MAX_KEY = 255
"""So long a key may be once it is encoded: more than common servers keep of one."""
MAX_URL = 8_000
"""Servers refuse longer addresses before anybody there has looked at the request."""
_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_NOT_ABOUT_THE_REQUEST = frozenset({401, 407, 408, 425, 429})


class EndpointRefused(Exception):
    """The endpoint understood what was asked, and will not do it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class EndpointFailed(Exception):
    """No answer, or none that says what became of it. `status` 0: no answer. `retry_after_ms`: for how long to leave it alone."""

    def __init__(self, status: int, reason: str, retry_after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class CannotSend(Exception):
    """What is asked cannot be made into a request: no fault of the endpoint's, and trying again does not help."""


class _Reason(msgspec.Struct):
    reason: str


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    body: bytes,
    key: str,
    *,
    timeout_s: float,
    expect: Collection[int] | None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The body of the answer to a JSON request under an idempotency key. `expect`: statuses that mean done; none: any 2xx.

    Raises `EndpointRefused`, `EndpointFailed`, `CannotSend`.
    """
    request = _request(http, method, url, body, key, timeout_s, headers or {})
    try:
        answer = await http.send(request, stream=True, follow_redirects=False)
        try:
            content = await _bounded(answer)
        finally:
            await answer.aclose()
    except httpx.TimeoutException:
        raise EndpointFailed(0, f"no answer in {timeout_s:g} s") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
        raise CannotSend(masked(f"{type(error).__name__}: {error}")[:MAX_WORDS]) from None
    except httpx.HTTPError as error:
        raise EndpointFailed(0, f"{type(error).__name__}: {error}"[:MAX_WORDS]) from None
    status = answer.status_code
    if status in expect if expect is not None else 200 <= status < 300:
        return content
    if 400 <= status < 500 and status not in _NOT_ABOUT_THE_REQUEST:
        raise EndpointRefused(status, _words(status, content))
    raise EndpointFailed(status, _words(status, content), _retry_after_ms(answer))


def key_header(key: str) -> str:
    """An idempotency key as a header's value: whatever is not visible ASCII is percent-encoded (UTF-8), and `%` itself.

    A longer one than `MAX_KEY` is cut, and told apart from others by its hash.
    """
    encoded = quote(key, safe=_VISIBLE, errors="surrogatepass")
    inner = encoded.strip(" ")  # at the ends, HTTP takes spaces for nothing
    if inner != encoded:
        begin = len(encoded) - len(encoded.lstrip(" "))
        encoded = "%20" * begin + inner + "%20" * (len(encoded) - begin - len(inner))
    if len(encoded) <= MAX_KEY:
        return encoded
    digest = sha256(key.encode(errors="surrogatepass")).hexdigest()
    cut = re.sub(r"%[0-9A-F]?$", "", encoded[: MAX_KEY - len(digest) - 1])
    return f"{cut}~{digest}"


def path_part(text: str) -> str:
    """Any text as one part of a path. Raises `CannotSend` for what is not a text (a lone surrogate) or nothing at all.

    A lone `.` or `..` would be taken for a step in the path.
    """
    if not text:
        raise CannotSend("a part of the address is empty")
    try:
        return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")
    except UnicodeEncodeError as error:
        raise CannotSend(f"{text[:100]!a} is not valid text: {error.reason}") from None


def _request(
    http: httpx.AsyncClient, method: str, url: str, body: bytes, key: str, timeout_s: float, headers: Mapping[str, str]
) -> httpx.Request:
    sent = {"Content-Type": "application/json", "Accept": "application/json", KEY_HEADER: key_header(key), **headers}
    if len(url) > MAX_URL:
        raise CannotSend(f"its address has {len(url):,} characters, and servers take {MAX_URL:,}")
    try:
        return http.build_request(method, url, content=body, headers=sent, timeout=timeout_s)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise CannotSend(masked(f"{type(error).__name__}: {error}")[:MAX_WORDS]) from None


def read(content: bytes, promised: type[T]) -> T:
    """An answer's JSON. Raises `EndpointFailed` if it is not what was promised."""
    try:
        return msgspec.json.decode(content, type=promised)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise EndpointFailed(0, f"its answer is not what it promised: {error}"[:MAX_WORDS]) from None


async def _bounded(answer: httpx.Response) -> bytes:
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise EndpointFailed(answer.status_code, f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    return content


def _words(status: int, content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=_Reason).reason[:MAX_WORDS]
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        text = " ".join(content[:MAX_WORDS].decode("utf-8", "replace").split())
        return text or f"it answered {status} without a word"


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _retry_after_ms(answer: httpx.Response) -> int | None:
    """`Retry-After` in seconds or as a date; none if it is neither, or the status does not go with it."""
    text = answer.headers.get("Retry-After", "").strip()
    if answer.status_code not in {429, 503} or not text:
        return None
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        at = _date(text)
        if at is None:
            return None
        now = _date(answer.headers.get("Date", "")) or datetime.now(UTC)  # by its clock, rather than by ours
        seconds = (at - now).total_seconds()
    return int(min(max(seconds, 0.0), MAX_RETRY_AFTER_S) * 1000)
