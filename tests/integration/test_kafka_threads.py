"""On a real broker, every thread of a process is killed once: told, not ready, begun again; then all works as before."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from connectors.api.app import create_api
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.settings.settings import load
from tests.support.app import ITEM, count, master

NDJSON = {"Content-Type": "application/x-ndjson"}
pytestmark = pytest.mark.kafka


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_each_is_begun_again(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CROSSDOCK_")]:
        monkeypatch.delenv(name)
    settings = load(data=tmp_path / "data", log=f"kafka://{broker}")
    with opened_log(settings, may_create=True) as log:
        app = App(settings, log)
        app.start()
        client = TestClient(create_api(app.ports), base_url="http://127.0.0.1")
        try:
            with client:
                _all_killed(app, client)
        finally:
            app.stop()


def _all_killed(app: App, client: TestClient) -> None:
    def ready() -> tuple[int, dict[str, str]]:
        answer = client.get("/readyz")
        return answer.status_code, dict(answer.json()["checks"])

    until(lambda: ready()[0] == 200, "it does not get ready")
    for source, messages in (("erp", master()), ("wms", [count("1000", 1)])):
        assert client.post(f"/v1/ingest/{source}", content=b"\n".join(messages), headers=NDJSON).status_code == 202
    holds = 0

    def hold() -> int:
        nonlocal holds
        holds += 1
        fact = json.loads(count("1000", 2)) | {"event_id": f"again {holds}", "sequence": 1}  # work for who translates
        client.post("/v1/ingest/wms", content=json.dumps(fact), headers=NDJSON)
        body = {"item": ITEM, "qty": 1, "channel": "web", "ttl_s": 600}
        answer = client.post("/v1/reservations", json=body, headers={"Idempotency-Key": f"k{time.time_ns()}"})
        app.dashboard.cursor()
        return answer.status_code

    until(lambda: client.get(f"/v1/atp/{ITEM}").json().get("promise", 0) >= 900, "there is no stock")
    assert hold() == 201
    names = {name: keeper for keeper in app.keepers for name in keeper.names() if not name.startswith("views ")}
    assert {"kafka-append", "kafka-keys", "agents", "replies", "watch", "live", "machine"} <= names.keys()
    assert any(name.startswith("worker ") for name in names)
    assert any(name.startswith("kafka-follow ") for name in names)
    for name, keeper in names.items():
        if name in {"agents' answers", "inbound"} or name.startswith("agent "):
            continue  # without work they do not come round; they are killed on the embedded log
        keeper._backoff_s = (1.0, 1.0)
        before = keeper.restarts()[name]
        keeper.kill(name)
        until(lambda: hold() and keeper.restarts()[name] > before, f"{name} was not killed")  # noqa: B023
        assert name in ready()[1]["threads"], name
        assert ready()[0] == 503, name
        until(lambda: hold() and ready()[0] == 200, f"{name} does not come back")
        until(lambda: hold() == 201, f"nothing works after {name} was killed")
    left = client.get(f"/v1/atp/{ITEM}").json()
    assert left["promise"] <= 1000 - 1
