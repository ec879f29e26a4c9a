"""Customers over a real log: the ERP's and the CRM's messages in, orders held and let go, all of it shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.api.app import create_api
from schemas.codec import Codec
from schemas.customers import RequestCredit
from streams.commands.send import said_now, send
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.settings.settings import Settings
from tests.support.api_fakes import Client
from tests.support.app import erp_row

ROW: dict[str, Any] = {
    "customer_no": "C/1",
    "name": "Acme GmbH",
    "tax_id": "DE123456",
    "email": None,
    "credit_limit": "100.00",
    "credit_hold": False,
    "terms": "NET30 ",
    "price_list": "STD",
    "status": "A",
}


class Running:
    """An application in process, worked off after each message."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.client = Client(create_api(app.ports))
        self.lsn = 100

    def erp(self, **columns: Any) -> None:
        self.lsn += 1
        row = ROW | columns
        self.take("erp", erp_row("customer", {"customer_no": row["customer_no"]}, row, self.lsn))

    def crm(self, sequence: int, **facts: Any) -> None:
        message = {"customer": "C/1", "changed_at": "2026-01-02T09:00:00Z", "sequence": sequence, "facts": facts}
        self.take("crm-customers", json.dumps(message).encode())

    def take(self, source: str, message: bytes) -> None:
        response = self.client.post(f"/v1/ingest/{source}", content=message, headers={"Content-Type": "application/json"})
        assert response.status_code == 202, response.text
        assert self.app.settle(30)

    def ask(self, order_id: str, revision: int, amount: str) -> None:
        head = said_now(1, "test")
        request = RequestCredit(**head, customer="C/1", order_id=order_id, revision=revision, amount=Decimal(amount))
        send(self.app.log, Codec(), request)
        assert self.app.settle(30)

    def shown(self, customer: str = "C/1") -> Any:
        return read(self.client.get(f"/v1/customers/{customer}"))

    def exceptions(self) -> set[str]:
        found = read(self.client.get("/v1/exceptions"))["exceptions"]
        return {row["fingerprint"] for row in found if row["code"] != "waiting"}


def read(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    settings = Settings(data=tmp_path / "data")
    with opened_log(settings, may_create=True) as log:
        app = App(settings, log)
        app.start()
        yield Running(app)
        app.stop()
        assert app.halted() == {}


def test_a_customer_from_first_word_to_last(running: Running) -> None:
    assert running.client.get("/v1/customers/C/1").status_code == 404
    running.crm(1, email="ap@acme.example", terms="COD")
    running.ask("web:1", 1, "60.5")
    first = running.shown()
    assert (first["is_known"], first["erp"], first["open_amount"]) == (False, None, Decimal("60.5"))
    assert [(held["order_id"], held["reason"]) for held in first["held_orders"]] == [("web:1", "unknown_customer")]
    assert first["contacts"] == [{"field": "email", "value": "ap@acme.example", "at": "2026-01-02T09:00:00.000Z"}]

    running.erp()
    running.ask("web:2", 1, "50")
    second = running.shown()
    assert (second["erp"]["credit_limit"], second["granted_amount"], second["held"]) == (100, Decimal("60.5"), 1)
    assert [held["reason"] for held in second["held_orders"]] == ["credit_limit"]
    assert second["disagreements"][0]["field"] == "terms"
    assert running.exceptions() == {"authority_conflict:customer:C/1:terms"}

    running.crm(2, terms="NET30")
    running.ask("web:1", 2, "0")
    third = running.shown()
    assert (third["granted_amount"], third["held_orders"], third["disagreements"]) == (50, [], [])
    assert running.exceptions() == set()

    running.erp(customer_no="C/2", name="ACME", tax_id="de 123456")
    assert running.exceptions() == {"duplicate_customer:tax:DE123456", "duplicate_customer:name:acme"}
    running.erp(customer_no="C/2", name="ACME", tax_id="de 123456", status="I")
    assert running.exceptions() == set()


def test_a_crm_message_that_cannot_be_read_is_a_dead_letter(running: Running) -> None:
    running.crm(1, email=["a", "b"])
    (row,) = read(running.client.get("/v1/exceptions?code=dead_letter"))["exceptions"]
    assert "facts.email" in row["sentence"]
    running.crm(2, email="a@b")
    assert running.shown()["contacts"][0]["value"] == "a@b"
