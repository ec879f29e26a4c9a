"""The sandbox as a process, for tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.sandbox import order

ROOT = Path(__file__).parents[2]
QUICK = ("--stock", "50", "--confirm-s", "0.05", "--step-s", "0.05", "--returned", "0", "--own-changes", "0", "--short", "0")


def started_by(directory: Path, extract: Path) -> list[str]:
    """The command that starts it."""
    where = ["--extract", str(extract), "--data", str(directory), "--listen", "127.0.0.1:0"]
    return [sys.executable, "-m", "infra.sandbox", *where]


class Sandbox:
    """`python -m infra.sandbox` as a process."""

    def __init__(self, directory: Path, extract: Path, *options: str) -> None:
        self.note = note = directory / "sandbox.json"
        note.unlink(missing_ok=True)
        command = [*started_by(directory, extract), *QUICK, *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: note.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[1]
        self.url = json.loads(note.read_text())["url"]
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def end(self, by: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and what it said."""
        self.client.close()
        self.process.send_signal(by)
        said = self.process.communicate(timeout=20)[1]
        return self.process.returncode, said

    def call(self, method: str, path: str, key: str, body: Any) -> httpx.Response:
        return self.client.request(method, path, json=body, headers={"Idempotency-Key": key})

    def put(self, key: str, ref: str = "W1") -> httpx.Response:
        return self.call("PUT", f"/erp/orders/web/{ref}", key, order((1, "A", "3")))

    def control(self, system: str, **faults: Any) -> None:
        assert self.client.post(f"/{system}/control", json=faults).status_code == 200

    def state(self, system: str) -> Any:
        return self.client.get(f"/{system}/state").json()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it did not happen in 20 s"
        time.sleep(0.02)


def an_extract(directory: Path, items: tuple[str, ...] = ("A", "B")) -> Path:
    """A directory of the ERP's tables: items in pieces at one site, a customer."""
    tables: dict[str, list[dict[str, Any]]] = {
        "item": [{"item_no": item, "base_uom": "EA"} for item in items],
        "customer": [{"customer_no": "C-17", "price_list": "STD"}],
        "site": [{"site_code": "DC1"}],
        "inventory_balance": [{"site_code": "DC1", "item_no": item} for item in items],
        "item_price": [],
    }
    directory.mkdir()
    for name, rows in tables.items():
        (directory / f"{name}.json").write_text(json.dumps(rows))
    return directory
