"""Sends notices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import msgspec

from connectors.outbound import call
from connectors.webhooks.signature import HEADER, sign
from schemas.obligations import NotifyStatus, StatusNotified

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WebhookClient:
    """Whoever takes notices at `url`."""

    def __init__(self, http: httpx.AsyncClient, url: str, timeout_s: float, secret: str, clock_ms: Callable[[], int]) -> None:
        self._http = http
        self._url = url
        self._timeout_s = timeout_s
        self._secret = secret
        self._clock_ms = clock_ms

    async def notify_status(self, notice: NotifyStatus, key: str) -> StatusNotified:
        """Tell of a status. Raises `EndpointRefused`, `EndpointFailed` or `CannotSend`."""
        at = (_EPOCH + timedelta(milliseconds=notice.at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = msgspec.json.encode(
            {
                "order_id": notice.order_id,
                "sequence": notice.sequence,
                "status": notice.status,
                "channel": notice.channel,
                "external_ref": notice.external_ref,
                "customer": notice.customer,
                "at": at,
            }
        )
        headers = {HEADER: sign(self._secret, body, self._clock_ms() // 1000)}
        await call(self._http, "POST", self._url, body, key, timeout_s=self._timeout_s, expect=None, headers=headers)
        return StatusNotified()
