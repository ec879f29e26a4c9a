"""Every thread of a running crossdock is killed once: it is told, not ready, begun again, and does its work as before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from connectors.api.app import create_api
from schemas import topics
from streams.engine.log import Outgoing, TopicPartition
from streams.runtime import app as wiring
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.settings.settings import load
from tests.support.app import ITEM, count, erp_row, master, reserve
from tests.support.endpoints import Answer, Endpoint

THREADS = ["agent erp", "agents", "agents' answers", "clock", "inbound", "live", "machine", "replies", "trim", "worker crossdock"]
CUSTOMER = {"customer_no": "C-1", "name": "One", "terms": "NET30", "price_list": "A", "status": "A", "credit_hold": False}
FEEDS = {
    "erp": [*master(), erp_row("customer", {"customer_no": "C-1"}, CUSTOMER, 200)],
    "wms": [count("100000", 1)],
}
NDJSON = {"Content-Type": "application/x-ndjson"}
SETTINGS = """
[endpoint.erp]
role = "erp"
url = "{url}"
[drop.edi]
channel = "edi"
directory = "drop"
every_s = 0.1
"""


def until(condition: Callable[[], Any], what: str = "it did not come to it in time") -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Running:
    """An app in this process, with everything it starts."""

    def __init__(self, app: App, client: TestClient, erp: Endpoint) -> None:
        self.app, self.client, self.erp = app, client, erp
        self.count = 0

    def ready(self) -> dict[str, Any]:
        answer = self.client.get("/readyz")
        return {"status": answer.status_code, **answer.json()["checks"]}

    def works(self) -> None:
        """A hold is answered, and expires; an order reaches the ERP; the live page goes on."""
        self.count += 1
        posted = len(self.erp.effects)
        hold = self.client.post(
            "/v1/reservations",
            json={"item": ITEM, "qty": 1, "channel": "web", "ttl_s": 1},
            headers={"Idempotency-Key": f"works-{self.count}"},
        )
        assert hold.status_code == 201, hold.text
        line = {"line": 1, "item": ITEM, "qty": "1"}
        order = {"channel": "web", "external_ref": f"W{self.count}", "customer": "C-1", "lines": [line]}
        assert self.client.post("/v1/orders", json=order).status_code == 202
        until(lambda: len(self.erp.effects) > posted, "the order does not reach the ERP")
        self.app.dashboard.cursor()

    def kill(self, name: str) -> None:
        """Kill it, and have it come round."""
        self.app.keeper.kill(name)
        until(lambda: self.poke() and self.app.keeper.restarts()[name] > 0, f"{name} was not killed")

    def poke(self) -> bool:
        """Give everything something to do."""
        self.app.dashboard.cursor()
        self.count += 1
        line = {"line": 1, "item": ITEM, "qty": "1"}
        order = {"channel": "web", "external_ref": f"P{self.count}", "customer": "C-1", "lines": [line]}
        self.client.post("/v1/orders", json=order)
        time.sleep(0.05)
        return True


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wiring, "TRIM_PAUSE_S", 0.05)
    erp = Endpoint(lambda request: Answer(201, {"order_no": f"SO-{request.path[-4:]}", "revision": request.json["revision"]}))
    (tmp_path / "crossdock.toml").write_text(SETTINGS.format(url=erp.url))
    settings = load(data=tmp_path / "data")
    with opened_log(settings, may_create=True) as log:
        app = App(settings, log)
        app.start()
        client = TestClient(create_api(app.ports), base_url="http://127.0.0.1")
        try:
            with client:
                for source, messages in FEEDS.items():
                    assert client.post(f"/v1/ingest/{source}", content=b"\n".join(messages), headers=NDJSON).status_code == 202
                until(lambda: client.get(f"/v1/atp/{ITEM}").json().get("promise") == 100_000)
                yield Running(app, client, erp)
        finally:
            app.stop()
            erp.close()


def test_no_thread_runs_that_is_not_kept(running: Running) -> None:
    """Whoever adds one adds it here, and with it the test that kills it."""
    assert running.app.keeper.names() == THREADS


@pytest.mark.parametrize("name", THREADS)
def test_one_that_dies_is_told_and_begun_again_and_its_work_goes_on(running: Running, name: str) -> None:
    running.works()
    running.app.keeper._backoff_s = (1.0, 1.0)  # long enough to be looked at
    running.kill(name)
    state = running.ready()
    assert (state["status"], state["threads"]) == (503, f"{name}: Killed: killed in a drill")
    assert name in running.app.dashboard.numbers().halted
    assert f'crossdock_thread_restarts_total{{thread="{name}"}} 1.0' in running.client.get("/metrics").text
    assert running.client.get("/healthz").status_code == 200
    until(lambda: running.poke() and running.ready()["status"] == 200, f"{name} does not come back")
    assert running.ready()["threads"] == "all run"
    running.works()


def test_an_answer_that_cannot_be_read_holds_up_nobody_else(running: Running) -> None:
    """Neither the thread that hands answers out, nor whoever asks under its key."""
    places = [TopicPartition(topics.REPLIES.name, n) for n in range(running.app.log.partitions(topics.REPLIES.name))]
    for key in (b"broken", b"web broken"):
        running.app.log.append([Outgoing(at.topic, at.partition, key, b"\x00\x00\x00\x00\x01garbage") for at in places])
    running.works()
    assert running.ready()["threads"] == "all run"
    assert reserve(running.client, "broken").status_code == 201  # type: ignore[arg-type]


def test_a_trim_that_fails_stops_no_clock(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: holds expire all the same, and it is told."""

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running.app.log, "trim", full)
    until(lambda: "No space left" in running.ready()["threads"])
    before = running.client.get(f"/v1/atp/{ITEM}").json()["promise"]
    hold = running.client.post(
        "/v1/reservations",
        json={"item": ITEM, "qty": 1, "channel": "web", "ttl_s": 1},
        headers={"Idempotency-Key": "expires"},
    )
    assert hold.status_code == 201
    until(lambda: running.client.get(f"/v1/atp/{ITEM}").json()["promise"] == before, "the hold does not expire")
    monkeypatch.undo()
    until(lambda: running.ready()["status"] == 200)


def test_a_dispatch_that_cannot_be_read_stops_no_agent(running: Running) -> None:
    log = running.app.log
    for partition in range(log.partitions(topics.DISPATCH.name)):
        log.append([Outgoing(topics.DISPATCH.name, partition, b"erp", b"garbage")])
    running.works()
    assert running.app.keeper.restarts()["agents"] == 0
    assert json.loads(running.client.get("/v1/endpoints").text)["endpoints"][0]["circuit"] == "closed"
