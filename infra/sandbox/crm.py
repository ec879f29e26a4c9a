"""The CRM, and a customer's portal: each takes signed notices of orders' states and keeps the newest of each order."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import msgspec

from infra.sandbox.store import Rows, SandboxStore, next_number
from infra.sandbox.values import HttpAnswer, Name, RequestRefused, answered

TOLERANCE_S = 300
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


class StatusNotice(msgspec.Struct, frozen=True):
    """What an order's state is, by its `sequence` of notices."""

    order_id: Name
    sequence: int
    status: str
    channel: str
    external_ref: str
    customer: str
    at: str


class Crm:
    """The core. Times are in ms."""

    def __init__(self, store: SandboxStore, secret: str) -> None:
        self._secret = secret.encode()
        self._newest: Rows[StatusNotice] = store.rows("notice", StatusNotice)
        self._answers: Rows[HttpAnswer] = store.rows("answer", HttpAnswer)
        self._counters: Rows[int] = store.rows("counter", int)

    def notify(self, key: str, body: bytes, signature: str, now: int) -> HttpAnswer:
        """Take a notice whose signature is ours; one older than the newest changes nothing."""
        if not self._is_signed(body, signature, now):
            next_number(self._counters, "unsigned")
            return HttpAnswer(401, {"reason": "X-Crossdock-Signature is missing, wrong or too old."})
        return answered(self._answers, key, lambda: self._keep(body))

    def state(self) -> dict[str, Any]:
        """The newest notice of each order, and how many came, were late, were not signed."""
        newest = {order_id: msgspec.to_builtins(notice) for order_id, notice in self._newest.scan()}
        counts = {name: (self._counters.get(name) or 1) - 1 for name in ("received", "late", "unsigned")}
        return {"orders": newest, **counts}

    def _is_signed(self, body: bytes, signature: str, now: int) -> bool:
        found = _SIGNATURE.fullmatch(signature)
        if found is None or abs(now // 1000 - int(found[1])) > TOLERANCE_S:
            return False
        expected = hmac.new(self._secret, f"{found[1]}.".encode() + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, found[2])

    def _keep(self, body: bytes) -> HttpAnswer:
        try:
            notice = msgspec.json.decode(body, type=StatusNotice)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestRefused(f"The notice is not as agreed: {error}.") from None
        next_number(self._counters, "received")
        held = self._newest.get(notice.order_id)
        is_late = held is not None and held.sequence >= notice.sequence
        if is_late:
            next_number(self._counters, "late")
        else:
            self._newest.put(notice.order_id, notice)
        return HttpAnswer(200, {"kept": not is_late})
