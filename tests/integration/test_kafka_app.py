"""crossdock on a real broker: processes share the work and any of them answers; one is killed, nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from connectors.api.staleness import HEADER
from streams.runtime.worker_processes import PID_FILE
from tests.support.app import ITEM, Server, count, environment, master, reserve

STOCK = 300
PATIENCE_S = 90.0
ENV = {"CROSSDOCK_KAFKA__SESSION_MS": "6000"}
pytestmark = pytest.mark.kafka


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def kafka(broker: str) -> str:
    """A cluster without anything of ours."""
    admin = AdminClient({"bootstrap.servers": broker})

    def there() -> list[str]:
        return [name for name in admin.list_topics(timeout=20).topics if not name.startswith("__")]

    for future in (admin.delete_topics(names) if (names := there()) else {}).values():
        future.result(20)
    until(lambda: not there(), "topics are not deleted")
    return f"kafka://{broker}"


@pytest.fixture
def nodes(kafka: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """One that does everything, with two worker processes; one that serves only."""
    made: list[Server] = []
    try:
        for name, more in (("all", ("--workers", "2")), ("other", ("--roles", "serve"))):
            made.append(Server(tmp_path / name, 0, "--log", kafka, *more, env=ENV))
        for server in made:
            until(lambda server=server: is_ready(server), "a node does not get ready")  # type: ignore[misc]
        yield made[0], made[1]
    finally:
        for server in made:
            if server.process.poll() is None:
                server.kill()


def is_ready(server: Server) -> bool:
    return server.client.get("/readyz").status_code == 200


def records_taken(server: Server) -> set[str]:
    """The worker processes that have taken in records, by the measures."""
    lines = server.client.get("/metrics").text.splitlines()
    taken = [line for line in lines if line.startswith("crossdock_worker_records_total{") and not line.endswith(" 0.0")]
    return {line.partition('worker="')[2].partition('"')[0] for line in taken}


def promise(server: Server) -> int:
    found = server.client.get(f"/v1/atp/{ITEM}")
    if found.status_code == 404:
        return -1
    assert found.status_code == 200, found.text
    assert 0 <= int(found.headers[HEADER]) < PATIENCE_S * 1000
    return int(found.json()["promise"])


def answered(server: Server, key: str, qty: int = 1, ttl_s: int = 600) -> httpx.Response:
    """A hold, asked for with one key until there is an answer."""
    body = {"item": ITEM, "qty": qty, "channel": "web", "ttl_s": ttl_s}
    found: list[httpx.Response] = []

    def is_answered() -> bool:
        found[:] = [server.client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})]
        return found[0].status_code not in {503, 504}

    until(is_answered, f"request {key} is not answered")
    return found[0]


def an_order(reference: str) -> dict[str, object]:
    lines = [{"line": 1, "item": ITEM, "qty": "1"}]
    return {"channel": "web", "external_ref": reference, "customer": "C-1", "lines": lines}


class Load:
    """Holds asked for through both nodes, each with a key of its own, until told to stop."""

    def __init__(self, *servers: Server) -> None:
        self.answers: dict[str, httpx.Response] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n, server)) for n, server in enumerate(servers)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, server: Server) -> None:
        for n in range(STOCK // 4):
            if self._stop.is_set():
                return
            key = f"load-{number}-{n}"
            self.answers[key] = answered(server, key)

    def end(self) -> dict[str, httpx.Response]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def test_any_node_answers_and_a_killed_worker_costs_nothing(nodes: tuple[Server, Server], kafka: str, tmp_path: Path) -> None:
    everything, other = nodes
    other.send("erp", master())
    other.send("wms", [count(str(STOCK), 1)])
    for server in nodes:
        until(lambda server=server: promise(server) == STOCK, "the stock does not show")  # type: ignore[misc]

    # Reservations: one key is one hold, whichever node is asked; what one node grants another gives back.
    granted = answered(other, "one")
    assert granted.status_code == 201
    assert answered(everything, "one").json() == granted.json()
    assert everything.client.delete(f"/v1/reservations/{granted.json()['reservation_id']}").status_code == 200
    assert reserve(other.client, "all of it and more", STOCK + 1).status_code == 409

    # An order that one node takes in shows on the other, and so do tables.
    assert other.client.post("/v1/orders", json=an_order("T-1")).status_code == 202
    until(lambda: everything.client.get("/v1/orders/web:T-1").status_code == 200, "the order does not show")
    rows = other.client.get("/v1/tables/promise.items").json()["rows"]
    assert [row["key"] for row in rows] == [ITEM]

    # What its worker processes do shows where they were started.
    assert everything.client.get("/readyz").json()["checks"]["their work"] == "each has its rows and works"
    until(lambda: records_taken(everything) >= {"1", "2"}, "the workers' measures do not show")

    # A worker is killed under load: the other takes over, the dead one comes back, each key has one hold.
    load = Load(everything, other)
    pid_file = tmp_path / "all" / "workers" / "1" / PID_FILE
    until(lambda: len(load.answers) > 10, "no answers come")
    killed = int(pid_file.read_text())
    os.kill(killed, signal.SIGKILL)
    until(lambda: int(pid_file.read_text() or killed) != killed, "the worker is not started again")
    seen = len(load.answers)
    until(lambda: len(load.answers) > min(seen + 20, STOCK // 2 - 1), "no answers come after the kill")
    answers = load.end()
    assert {answer.status_code for answer in answers.values()} == {201}
    held = {answer.json()["reservation_id"] for answer in answers.values()}
    assert len(held) == len(answers)
    left = STOCK - 1 - len(held)  # the order has one
    for server in nodes:
        until(lambda server=server: promise(server) == left, "promises are not exact")  # type: ignore[misc]

    # Time passes on Kafka too: a hold runs out.
    assert answered(other, "short", left, ttl_s=1).status_code == 201
    keys = (f"again-{n}" for n in itertools.count())
    until(lambda: answered(everything, next(keys), left).status_code == 201, "a hold does not run out")

    # They end in order, and the tables are what the log says.
    workers = [int(file.read_text()) for file in tmp_path.glob("all/workers/*/pid")]
    assert len(workers) == 2
    assert [server.stop(signal.SIGTERM) for server in nodes] == [0, 0]
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    require_exact(kafka, tmp_path / "all")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_does_not_serve_says_how_it_is(kafka: str, tmp_path: Path, workers: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    told = ["--log", kafka, "--data", str(tmp_path / "w"), "--roles", "fold,translate", "--workers", str(workers)]
    command = [sys.executable, "-c", "from streams.cli import main; main()", "run", *told, "--api", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(ENV), stderr=subprocess.PIPE)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:

            def is_ready() -> bool:
                assert process.poll() is None
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/readyz").status_code == 200
                return False

            until(is_ready, "it does not get ready")
            checks = client.get("/readyz").json()["checks"]
            assert checks["workers"] == "running"
            assert ("their work" in checks) == (workers == 2)
            until(lambda: "crossdock_worker_records_total" in client.get("/metrics").text, "its measures do not show")
            assert "crossdock_workers_halted 0.0" in client.get("/metrics").text
            assert client.get(f"/v1/atp/{ITEM}").status_code == 404
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def require_exact(kafka: str, directory: Path) -> None:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "verify", "--json", "--data", str(directory)]
    env = environment(ENV | {"CROSSDOCK_LOG": kafka})
    found = subprocess.run(command, check=False, env=env, cwd=directory, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads(found.stdout)
    assert report["is_same"]
    assert not any(partition["is_unknown"] for partition in report["partitions"]), found.stdout
    assert report["inputs"] > 0
