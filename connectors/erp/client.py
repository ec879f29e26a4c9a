"""The ERP's order entry over HTTP: orders whole, and invoices for what has shipped.

`PUT /orders/{channel}/{external_ref}` takes the order as it should be; a lower revision than the one it has, it leaves alone.
`POST /orders/{order_no}/invoices` bills units in addition to what was billed before, `POST /orders/{order_no}/credits` credits
units that came back. All take an idempotency key, and answer a
repeated one as they did the first time. That the order is there, and how it stands, the change feed says.
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from connectors.outbound import call, path_part, read
from schemas.obligations import (
    CreditNotePosted,
    InvoicePosted,
    ObligedLine,
    OrderPosted,
    PostOrder,
    RequestCreditNote,
    RequestInvoice,
)
from schemas.quantity import show

CHANNEL_CODES = {"web": "WEB", "edi": "EDI", "marketplace": "MKT", "phone": "PHONE"}


class _Order(msgspec.Struct):
    order_no: str


class _Invoice(msgspec.Struct):
    invoice_no: str


class _CreditNote(msgspec.Struct):
    credit_no: str


class ErpClient:
    """The ERP at `url`. Each call raises `EndpointRefused`, `EndpointFailed` or `CannotSend`."""

    def __init__(self, http: httpx.AsyncClient, url: str, timeout_s: float) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    async def post_order(self, order: PostOrder, key: str) -> OrderPosted:
        """The order as the ERP should have it."""
        channel = CHANNEL_CODES.get(order.channel, order.channel.upper())
        body = {
            "revision": order.revision,
            "customer": order.customer,
            "requested_date": order.requested_on,
            "priority": order.priority,
            "lines": [_line(line) for line in order.lines],
        }
        answer = await self._call("PUT", f"/orders/{path_part(channel)}/{path_part(order.external_ref)}", body, key, (200, 201))
        return OrderPosted(read(answer, _Order).order_no)

    async def request_invoice(self, invoice: RequestInvoice, key: str) -> InvoicePosted:
        """Bill units that have shipped."""
        body = {"lines": [_billed(line) for line in invoice.lines]}
        answer = await self._call("POST", f"/orders/{path_part(invoice.order_no)}/invoices", body, key, (200, 201))
        return InvoicePosted(read(answer, _Invoice).invoice_no)

    async def request_credit_note(self, credit: RequestCreditNote, key: str) -> CreditNotePosted:
        """Credit units that were billed and came back."""
        body = {"lines": [_billed(line) for line in credit.lines]}
        answer = await self._call("POST", f"/orders/{path_part(credit.order_no)}/credits", body, key, (200, 201))
        return CreditNotePosted(read(answer, _CreditNote).credit_no)

    async def _call(self, method: str, path: str, body: Any, key: str, expect: tuple[int, ...]) -> bytes:
        data = msgspec.json.encode(body)
        return await call(self._http, method, self._url + path, data, key, timeout_s=self._timeout_s, expect=expect)


def _billed(line: ObligedLine) -> dict[str, Any]:
    """A line to bill or to credit, in units of the line. A substitute is named, and how much of it they are."""
    body: dict[str, Any] = {"line": line.line, "qty": show(line.qty_milli)}
    return body if line.substitute is None else body | {"item": line.substitute, "item_qty": show(line.substitute_milli)}


def _line(line: ObligedLine) -> dict[str, Any]:
    body: dict[str, Any] = {
        "line": line.line,
        "item": line.item,
        "site": line.site,
        "qty": show(line.qty_milli),
        "unit_price": None if line.unit_price is None else format(line.unit_price, "f"),
        "currency": line.currency,
    }
    if line.parts:
        body["sites"] = [{"site": part.site, "qty": show(part.qty_milli)} for part in line.parts]
    return body
