"""The four channels' own ways in: a shop that calls us, a marketplace we ask, a CRM on our API, a folder of files."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from connectors.channels.webshop.signature import HEADER, sign
from infra.demo.world import DemoOrder

FILE_ORDERS = 25
_COLUMNS = ("order", "customer", "placed_at", "requested_date", "line", "item", "qty", "uom", "unit_price", "currency")
_POLICY = ("partial", "backorder", "substitute")


class ChannelEntry:
    """Brings wishes in, each by its channel's door. `api` and `market` are base URLs; `folder` is the watched one of `edi`."""

    def __init__(self, client: httpx.Client, api: str, market: str, secret: bytes, folder: Path) -> None:
        self._client = client
        self._api = api
        self._market = market
        self._secret = secret
        self._folder = folder
        self._rows: list[list[str]] = []
        self._orders = 0
        self._files = 0
        self.sent: Counter[str] = Counter()

    def bring(self, order: DemoOrder) -> None:
        """Bring one in. Raises `httpx.HTTPError` if it is not taken."""
        if order.kind != "order" and (order.channel != "marketplace" or order.kind != "cancel"):
            self.flush()
            self._post(f"{self._api}/v1/ingest/{order.channel}", order.body)
        elif order.channel == "web":
            self._call(order.body)
        elif order.channel == "marketplace" and order.kind == "order":
            self._post(f"{self._market}/orders", marketplace_order(order.body))
        elif order.channel == "marketplace":
            at = f"{self._market}/orders/{quote(order.body['external_ref'], safe='')}/cancel"
            self._post(at, {"reason": order.body["reason"]})
        elif order.channel == "crm":
            self._post(f"{self._api}/v1/orders", order.body)
        else:
            self._file(order.body)
        self.sent[order.channel] += 1

    def again(self, order: DemoOrder) -> None:
        """Bring the same order in once more, as channels do that got no answer. A marketplace repeats its orders by itself."""
        if order.kind == "order" and order.channel != "marketplace":
            self.flush()  # a file is sent again as another file: rows that are twice in one are a mistake
            self.bring(order)

    def flush(self) -> None:
        """Drop the file begun, if there is one."""
        if not self._rows:
            return
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerows([(*_COLUMNS, *_POLICY), *self._rows])
        self._files += 1
        target = self._folder / f"orders-{self._files:04}.csv"
        part = target.with_suffix(".part")
        part.write_text(out.getvalue())
        part.rename(target)
        self._rows, self._orders = [], 0

    def _call(self, order: dict[str, Any]) -> None:
        body = json.dumps(shop_order(order)).encode()
        answer = self._client.post(
            f"{self._api}/v1/webhooks/web",
            content=body,
            headers={HEADER: sign(self._secret, body), "Content-Type": "application/json"},
        )
        answer.raise_for_status()

    def _post(self, url: str, body: dict[str, Any]) -> None:
        until = time.monotonic() + 30
        while True:
            answer = self._client.post(url, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > until:
                break
            time.sleep(0.2)  # a channel sends again what was not taken
        if answer.status_code != httpx.codes.CONFLICT:  # the marketplace has it already
            answer.raise_for_status()

    def _file(self, order: dict[str, Any]) -> None:
        policy = ["yes" if order["policy"][name] else "no" for name in _POLICY]
        head = [order["external_ref"], order["customer"], order["placed_at"], order["requested_date"] or ""]
        for line in order["lines"]:
            cells = [str(line.get(name, "")) for name in ("line", "item", "qty", "uom", "unit_price", "currency")]
            self._rows.append([*head, *cells, *policy])
        self._orders += 1
        if self._orders >= FILE_ORDERS:
            self.flush()


def shop_order(order: dict[str, Any]) -> dict[str, Any]:
    """The order as the web shop says it (`connectors/channels/webshop`)."""
    currency = next((line["currency"] for line in order["lines"] if "currency" in line), None)
    return {
        "id": order["external_ref"],
        "status": "open",
        "created_at": order["placed_at"],
        "customer": {"number": order["customer"]},
        "currency": currency,
        "deliver_by": order["requested_date"],
        "accept": order["policy"],
        "line_items": [
            {"position": x["line"], "sku": x["item"], "quantity": x["qty"], "unit": x["uom"], "price": x.get("unit_price")}
            for x in order["lines"]
        ],
    }


def marketplace_order(order: dict[str, Any]) -> dict[str, Any]:
    """The order as the marketplace says it (`connectors/channels/marketplace`)."""
    items = []
    for x in order["lines"]:
        item = {"no": x["line"], "sku": x["item"], "quantity": x["qty"], "unit": x["uom"]}
        if "unit_price" in x:
            item["price"] = {"amount": x["unit_price"], "currency": x["currency"]}
        items.append(item)
    return {
        "id": order["external_ref"],
        "purchased": order["placed_at"],
        "buyer": {"account": order["customer"]},
        "ship_by": order["requested_date"],
        "partial_ok": order["policy"]["partial"],
        "items": items,
    }
