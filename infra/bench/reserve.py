"""`crossdock bench reserve`: reservations over HTTP, one after another: how long a channel waits for its answer.

A server in a process of its own on a free port, the synced log in a directory of its own, or on the Kafka it is given; the fold
decides each request, and the answer is given once it is durable.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

STARTED_S = 60.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReserveBench:
    """Latencies in ms of requests sent one after another, each answered 201."""

    requests: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def bench_reserve(requests: int, progress: Progress = lambda *_: None, kafka: str | None = None) -> ReserveBench:
    """Measure. Raises `RuntimeError` if the server does not come up or a request is not granted."""
    item = f"BENCH-{uuid.uuid4().hex[:12]}"  # on Kafka, others may have measured before
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as directory, _server(Path(directory) / "data", kafka) as client:
        _stock(client, item, requests + 100)
        for n in range(100):
            _reserve(client, item, f"{item}-warm-{n}")
        taken = []
        for n in range(requests):
            began = time.perf_counter()
            _reserve(client, item, f"{item}-{n}")
            taken.append((time.perf_counter() - began) * 1000)
            progress(n + 1, requests)
    taken.sort()
    return ReserveBench(requests, taken[len(taken) // 2], taken[int(len(taken) * 0.99)], taken[-1])


@contextmanager
def _server(data: Path, kafka: str | None) -> Iterator[httpx.Client]:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "run", "--data", str(data), "--api", "127.0.0.1:0"]
    process = subprocess.Popen([*command, *(["--log", kafka] if kafka else [])], stderr=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        with httpx.Client(base_url=_address(process, data / "server.json"), timeout=30, trust_env=False) as client:
            _await(lambda: client.get("/readyz").status_code == 200, "the server does not get ready")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + STARTED_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(otherwise)
        time.sleep(0.05)


def _address(process: subprocess.Popen[bytes], note: Path) -> str:
    until = time.monotonic() + STARTED_S
    while time.monotonic() < until and process.poll() is None:
        if note.exists() and (text := note.read_text()):
            return str(json.loads(text)["url"])
        time.sleep(0.05)
    raise RuntimeError("the server did not come up: crossdock run says why")


def _stock(client: httpx.Client, item: str, units: int) -> None:
    key = {"item_no": item}
    row: dict[str, Any] = {
        "description": "A thing", "base_uom": "EA", "pack_uom": None, "pack_qty": None, "lot_tracked": False,
        "shelf_life_days": None, "status": "A", "safety_stock": "0", "updated_at": 0, "hazmat_class": None,
    }  # fmt: skip
    source = {"connector": "postgresql", "snapshot": "false", "lsn": 2, "sequence": '["1","2"]', "ts_ms": 1, "table": "item"}
    value = {"before": None, "after": key | row, "source": source, "op": "c", "ts_ms": 1}
    _post(client, "/v1/ingest/erp", {"topic": "erp.public.item", "key": key, "value": value}, 202)
    site = {"site_code": "DC1"}
    place = {"before": None, "after": site | {"name": "DC1", "timezone": "UTC"}, "op": "c", "ts_ms": 1}
    value = place | {"source": source | {"table": "site"}}
    _post(client, "/v1/ingest/erp", {"topic": "erp.public.site", "key": site, "value": value}, 202)
    number = time.time_ns() // 1_000_000  # beyond those of a measurement before
    fact = {
        "event_id": f"W-{number}",
        "sequence": number,
        "type": "stock.received",
        "site": "DC1",
        "item": item,
        "qty": str(units),
    }
    fact |= {"uom": "EA", "status": "usable", "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    _post(client, "/v1/ingest/wms", fact, 202)
    _await(lambda: client.get(f"/v1/atp/{item}").json().get("promise") == units, "the stock does not arrive")


def _reserve(client: httpx.Client, item: str, key: str) -> None:
    body = {"item": item, "qty": "1", "channel": "web", "ttl_s": 600}
    _post(client, "/v1/reservations", body, 201, {"Idempotency-Key": key})


def _post(client: httpx.Client, path: str, body: Any, status: int, headers: dict[str, str] | None = None) -> None:
    answer = client.post(path, json=body, headers=headers or {})
    if answer.status_code != status:
        raise RuntimeError(f"POST {path} was answered {answer.status_code}: {answer.text}")
