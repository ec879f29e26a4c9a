"""The shop's signature over the raw body."""

from __future__ import annotations

import base64
import hashlib
import hmac

HEADER = "X-Webhook-Signature"


def sign(secret: bytes, body: bytes) -> str:
    """Base64 of the HMAC-SHA256 of the body as it is sent."""
    return base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()


def is_signed(secret: bytes, body: bytes, signature: str) -> bool:
    """Whether the signature is right, in a time that does not tell how nearly."""
    return hmac.compare_digest(sign(secret, body).encode(), signature.strip().encode("utf-8", "replace"))
