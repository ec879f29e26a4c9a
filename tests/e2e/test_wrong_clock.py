"""A machine's clock that is wrong: nothing is decided by it, it is told, and a person can say that it is right."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from connectors.api.app import create_api
from streams.monitoring import machine, trusted_clock
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.settings.settings import load
from tests.support.app import ITEM, count, master

DAY_S = 86_400
NDJSON = {"Content-Type": "application/x-ndjson"}


def until(condition: Callable[[], Any], what: str = "it did not come to it in time") -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def wrong_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How far the machine's clock is off, for the whole process."""
    wrong, right_ns = [0.0], time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + int(wrong[0] * 1e9))
    monkeypatch.setattr(machine, "LOOK_S", 0.05)
    return wrong


@contextlib.contextmanager
def running(directory: Path) -> Iterator[tuple[App, TestClient]]:
    settings = load(data=directory)
    with opened_log(settings, may_create=True) as log:
        app = App(settings, log)
        app.start()
        try:
            with TestClient(create_api(app.ports), base_url="http://127.0.0.1") as client:
                yield app, client
        finally:
            app.stop()


def filled(client: TestClient) -> None:
    for source, messages in (("erp", master()), ("wms", [count("100", 1)])):
        assert client.post(f"/v1/ingest/{source}", content=b"\n".join(messages), headers=NDJSON).status_code == 202
    until(lambda: promise(client) == 100)


def promise(client: TestClient) -> Any:
    return client.get(f"/v1/atp/{ITEM}").json().get("promise")


def held(client: TestClient, key: str, ttl_s: int) -> None:
    body = {"item": ITEM, "qty": 1, "channel": "web", "ttl_s": ttl_s}
    answer = client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 201, answer.text


def noted(client: TestClient) -> list[dict[str, Any]]:
    found = client.get("/v1/exceptions", params={"code": "clock_step", "state": "all"}).json()["exceptions"]
    return [dict(row) for row in found]


def ready(client: TestClient) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, str(answer.json()["checks"]["clock"])


def test_a_second_of_it_expires_no_hold_and_moves_no_day(tmp_path: Path, wrong_s: list[float]) -> None:
    with running(tmp_path) as (app, client):
        filled(client)
        held(client, "a", 600)
        day = client.get(f"/v1/atp/{ITEM}").json()["sites"][0]["today"]
        until(lambda: promise(client) == 99)
        wrong_s[0] = 400 * DAY_S
        until(lambda: noted(client))
        status, says = ready(client)
        assert (status, says.partition(", ")[2].partition(": ")[0]) == (200, "400 days ahead of what it should be")
        assert "crossdock clock --confirm" in says
        assert app.dashboard.numbers().halted["clock"] == says
        assert client.get("/v1/clock").json()["is_trusted"] is False
        time.sleep(1)
        assert promise(client) == 99
        assert client.get(f"/v1/atp/{ITEM}").json()["sites"][0]["today"] == day
        wrong_s[0] = 0
        until(lambda: noted(client)[0]["state"] == "cleared")
        assert ready(client) == (200, "the machine's clock goes as it should")
        held(client, "b", 1)
        until(lambda: promise(client) == 98)
        until(lambda: promise(client) == 99)


def test_a_person_confirms_it_and_that_is_written_down(tmp_path: Path, wrong_s: list[float]) -> None:
    with running(tmp_path) as (_, client):
        filled(client)
        assert client.post("/v1/clock/confirm", json={"person": "dana"}).status_code == 409
        held(client, "a", 3_600)
        until(lambda: promise(client) == 99)
        wrong_s[0] = 2 * DAY_S
        until(lambda: noted(client))
        answer = client.post("/v1/clock/confirm", json={"person": "dana", "note": "compared with the time server"})
        assert (answer.status_code, answer.json()["is_trusted"]) == (200, True)
        until(lambda: promise(client) == 100, "the hold, two days old now, has not expired")
        until(lambda: noted(client)[0]["state"] == "resolved")
        assert (noted(client)[0]["person"], noted(client)[0]["note"]) == ("dana", "compared with the time server")
        assert client.get("/v1/clock").json()["now"][:10] == time.strftime("%Y-%m-%d", time.gmtime(time.time_ns() // 10**9))
    with running(tmp_path) as (_, client):
        assert client.get("/v1/clock").json()["is_trusted"] is True


@pytest.mark.parametrize("days", [400, -400])
@pytest.mark.parametrize("is_machine_restarted", [False, True])
def test_a_process_that_starts_with_it_does_not_believe_it_either(
    tmp_path: Path, wrong_s: list[float], monkeypatch: pytest.MonkeyPatch, days: int, is_machine_restarted: bool
) -> None:
    """The anchor says what time it is, or after a restart of the machine the log's last tick says what it is at least."""
    with running(tmp_path) as (_, client):
        filled(client)
        held(client, "a", 1)
        held(client, "b", 600)
        until(lambda: promise(client) == 98)
        until(lambda: promise(client) == 99)
    if is_machine_restarted:
        monkeypatch.setattr(trusted_clock, "boot_id", lambda: "another")
        (tmp_path / "clock.json").unlink()
    wrong_s[0] = days * DAY_S
    with running(tmp_path) as (_, client):
        until(lambda: noted(client))
        status, says = ready(client)
        assert status == (503 if is_machine_restarted else 200)
        assert ("400 days ahead" if days > 0 else "400 days behind") in says
        time.sleep(0.5)
        assert promise(client) == 99
        wrong_s[0] = 0
        until(lambda: ready(client) == (200, "the machine's clock goes as it should"))
