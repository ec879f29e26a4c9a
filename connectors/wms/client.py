"""The warehouse's task list over HTTP: releases to pick and ship, and their withdrawal as far as nothing was picked yet.

Both add to what was said before, and take an idempotency key: a repeated one is answered as the first time. What was done about
a release, the feed says.
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from connectors.outbound import EndpointFailed, call, read
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.obligations import (
    CountRequested,
    ObligedLine,
    OrderReleased,
    ReleaseOrder,
    ReleaseWithdrawn,
    RequestCount,
    WithdrawRelease,
)
from schemas.quantity import parse_milli, show


class _Withdrawn(msgspec.Struct):
    line: int
    site: str
    qty: str


class _Withdrawal(msgspec.Struct):
    withdrawn: list[_Withdrawn]


class WmsClient:
    """The warehouse management system at `url`. Each call raises `EndpointRefused`, `EndpointFailed` or `CannotSend`."""

    def __init__(self, http: httpx.AsyncClient, url: str, timeout_s: float) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    async def release_order(self, release: ReleaseOrder, key: str) -> OrderReleased:
        """Units to pick and ship."""
        body = {
            "order": release.order_id,
            "customer": release.customer,
            "priority": release.priority,
            "requested_date": release.requested_on,
            "substitute": release.allow_substitute,
            "lines": [
                {"line": x.line, "item": x.item, "site": x.site, "qty": show(x.qty_milli), "uom": x.uom} for x in release.lines
            ],
        }
        await self._post("/releases", body, key, (200, 202))
        return OrderReleased()

    async def withdraw_release(self, withdrawal: WithdrawRelease, key: str) -> ReleaseWithdrawn:
        """Units not to pick any more. Each line asked for is answered: what is not named was picked already."""
        lines = [{"line": x.line, "site": x.site, "qty": show(x.qty_milli)} for x in withdrawal.lines]
        answer = await self._post("/withdrawals", {"order": withdrawal.order_id, "lines": lines}, key, (200,))
        return ReleaseWithdrawn(_given_back(withdrawal.lines, read(answer, _Withdrawal).withdrawn))

    async def request_count(self, count: RequestCount, key: str) -> CountRequested:
        """An item to count at a site."""
        await self._post("/counts", {"order": count.order_id, "site": count.site, "item": count.item}, key, (200, 202))
        return CountRequested()

    async def _post(self, path: str, body: Any, key: str, expect: tuple[int, ...]) -> bytes:
        data = msgspec.json.encode(body)
        return await call(self._http, "POST", self._url + path, data, key, timeout_s=self._timeout_s, expect=expect)


def _given_back(asked: list[ObligedLine], withdrawn: list[_Withdrawn]) -> list[ObligedLine]:
    """The lines asked for, with what was given back of each. Raises `EndpointFailed` if that cannot be."""
    left: dict[tuple[int, str], int] = {}
    for given in withdrawn:
        try:
            milli = parse_milli(given.qty, f"qty of line {given.line}")
        except BadMessage as error:
            raise EndpointFailed(200, f"its answer cannot be read: {error.reason}") from None
        left[given.line, given.site] = left.get((given.line, given.site), 0) + milli
    found = []
    for line in asked:
        place = (line.line, line.site)
        milli = min(line.qty_milli, max(left.get(place, 0), 0))
        left[place] = left.get(place, 0) - milli
        found.append(replace(line, qty_milli=milli))
    over = {place: milli for place, milli in left.items() if milli != 0}
    if over:
        named = ", ".join(f"line {line} at {site}" for line, site in over)
        raise EndpointFailed(200, f"it withdrew what nobody asked it to: {named}")
    return found
