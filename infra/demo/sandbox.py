"""The sandbox as a process beside the demonstration: the ERP, the WMS, the CRM, the portal and the marketplace it runs with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import streams

ROOT = Path(streams.__file__).parents[1]
STARTED_S = 30.0


class NoSandbox(Exception):
    """The sandbox is not there, or did not come up. The sentence says what to do."""


class SandboxClient:
    """The systems' addresses, their faults and what they know."""

    def __init__(self, url: str, client: httpx.Client, pid: int = 0) -> None:
        self.url = url
        self.pid = pid
        self._client = client

    def control(self, system: str, **faults: Any) -> dict[str, Any]:
        """Change a system's faults (down, slow_ms, lose_reply, duplicate, shuffle); returns all of them."""
        answer = self._client.post(f"{self.url}/{system}/control", json=faults)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def state(self, system: str) -> dict[str, Any]:
        """What a system knows."""
        answer = self._client.get(f"{self.url}/{system}/state")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def receive(self, site: str, item: str, qty: str) -> None:
        """Goods come to the warehouse."""
        self._client.post(f"{self.url}/wms/receipts", json={"site": site, "item": item, "qty": qty}).raise_for_status()

    def tell(self, crossdock: str) -> None:
        """Say where crossdock listens."""
        self._client.post(f"{self.url}/control", json={"crossdock": crossdock}).raise_for_status()


@contextmanager
def running(directory: Path, seed: int, extract: Path, *options: str) -> Iterator[SandboxClient]:
    """The sandbox as a process of its own, ended at the end and with this process, however that ends. Raises `NoSandbox`."""
    if not (ROOT / "infra" / "sandbox").is_dir():
        raise NoSandbox(f"The sandbox's systems are not in {ROOT}: run the demo from a clone of crossdock.")
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "infra.sandbox", "--extract", str(extract), "--data", str(directory.resolve())]
    command += ["--listen", "127.0.0.1:0", "--seed", str(seed), "--attached", *options]
    with (directory / "sandbox.log").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=said, stderr=said)  # noqa: S603 - our own command
    try:
        with httpx.Client(timeout=30, trust_env=False) as client:
            yield SandboxClient(_address(process, directory), client, process.pid)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], directory: Path) -> str:
    note = directory / "sandbox.json"
    until = time.monotonic() + STARTED_S
    while time.monotonic() < until and process.poll() is None:
        if note.exists() and (text := note.read_text()):
            found = json.loads(text)
            if found.get("pid", process.pid) == process.pid:
                return str(found["url"])
        time.sleep(0.02)
    raise NoSandbox(f"The sandbox did not come up: {directory / 'sandbox.log'} says why.")
