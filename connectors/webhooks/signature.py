"""A signature over a raw body and the instant it was sent, so that neither can be altered or sent again much later."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Crossdock-Signature"
TOLERANCE_S = 300
_MAX_HEADER = 1_000


class BadSignature(Exception):
    """The body is not to be trusted. The sentence says why, and nothing about the secret."""


def sign(secret: str, body: bytes, now_s: int) -> str:
    """The header's value for a body sent now."""
    return f"t={now_s},v1={_digest(secret, body, str(now_s))}"


def verify(secret: str, body: bytes, header: str | None, now_s: int, tolerance_s: int = TOLERANCE_S) -> None:
    """Check a header's value against the raw body, in constant time. Any one of several `v1` will do: secrets are changed so.

    Raises `BadSignature`.
    """
    if not header or len(header) > _MAX_HEADER:
        raise BadSignature(f"{HEADER} is missing" if not header else f"{HEADER} is too long")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not given or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12):
        raise BadSignature(f"{HEADER} is not like t=<unix seconds>,v1=<hex>")
    expected = _digest(secret, body, times[0]).encode()
    matches = [hmac.compare_digest(expected, value.encode("utf-8", "replace")) for value in given]
    if not any(matches):
        raise BadSignature("the signature is not the one of this body under the secret known here")
    if abs(now_s - int(times[0])) > tolerance_s:
        raise BadSignature(f"it was signed {abs(now_s - int(times[0]))} s away from now, more than {tolerance_s}")


def _digest(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
