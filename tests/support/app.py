"""A running crossdock for end-to-end tests: an item with stock, in process or as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

ITEM = "SKU-1"
START_S = 60.0


def erp_row(table: str, key: dict[str, Any], row: dict[str, Any], lsn: int) -> bytes:
    """A record of the ERP's feed, as a dump has it."""
    source = {
        "connector": "postgresql",
        "snapshot": "false",
        "lsn": lsn,
        "sequence": f'["{lsn - 1}","{lsn}"]',
        "ts_ms": 1,
        "table": table,
    }
    value = {"before": None, "after": row, "source": source, "op": "c", "ts_ms": 1}
    return json.dumps({"topic": f"erp.public.{table}", "key": key, "value": value}).encode()


def master(lsn: int = 100) -> list[bytes]:
    """A site and an item that comes in whole pieces."""
    site = {"site_code": "DC1", "name": "One", "timezone": "America/New_York"}
    item = {
        "item_no": ITEM,
        "description": "A thing",
        "base_uom": "EA",
        "pack_uom": "BX",
        "pack_qty": "12.000",
        "lot_tracked": False,
        "shelf_life_days": None,
        "status": "A",
        "safety_stock": "0.000",
        "updated_at": 1785587220000000,
        "hazmat_class": None,
    }
    return [
        erp_row("site", {"site_code": "DC1"}, site, lsn),
        erp_row("item", {"item_no": ITEM}, item, lsn + 1),
    ]


def count(qty: str, sequence: int, at: str = "2026-01-02T09:00:00Z") -> bytes:
    """The warehouse counted the item."""
    fact = {"event_id": f"W-{sequence}", "sequence": sequence, "type": "stock.snapshot", "site": "DC1", "item": ITEM, "qty": qty}
    return json.dumps(fact | {"uom": "EA", "status": "usable", "occurred_at": at}).encode()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a process of ours is started with: settings of the tests' own are none of its."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_TEST_")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | dict(more)


class Server:
    """`crossdock run` as a process, with more options, and more in its environment, if given."""

    def __init__(self, directory: Path, port: int = 0, *more: str, env: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        note = directory / "server.json"
        note.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-c",
            "from streams.cli import main; main()",
            "run",
            "--data",
            str(directory),
            "--api",
            f"127.0.0.1:{port}",
            *more,
        ]
        self.process = subprocess.Popen(command, cwd=directory.parent, env=environment(env or {}), stderr=subprocess.PIPE)
        until = time.monotonic() + START_S
        while not note.exists():
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < until, f"the server did not start in {START_S:g} s"
            time.sleep(0.02)
        self.url = json.loads(note.read_text())["url"]
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self._gone()

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """End it, as Ctrl-C does; its exit code."""
        self.process.send_signal(by)
        return self._gone()

    def _gone(self) -> int:
        self.client.close()
        self.process.communicate(timeout=60)
        return self.process.returncode

    def send(self, source: str, messages: list[bytes]) -> None:
        """Raw messages over HTTP."""
        headers = {"Content-Type": "application/x-ndjson"}
        response = self.client.post(f"/v1/ingest/{source}", content=b"\n".join(messages), headers=headers)
        assert response.status_code == 202, response.text

    def atp(self) -> dict[str, Any]:
        """The item's row."""
        found: dict[str, Any] = self.client.get(f"/v1/atp/{ITEM}").json()
        return found

    def wait_for_stock(self, qty: int) -> None:
        """Until so much can be promised."""
        until = time.monotonic() + 20
        while self.atp().get("promise") != qty:
            assert time.monotonic() < until, self.atp()
            time.sleep(0.02)


def reserve(client: httpx.Client, key: str, qty: int = 1) -> httpx.Response:
    """Ask for a hold."""
    body = {"item": ITEM, "qty": qty, "channel": "web", "ttl_s": 600}
    return client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})
