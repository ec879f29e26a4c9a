"""The ERP's database and its change feed as real servers, each in a directory of its own that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import connectors.erp
from infra.erp.database import connected
from infra.erp.seed import seed

INFRA = Path(__file__).parents[2] / "infra"
EXTRACT = Path(connectors.erp.__file__).parent / "sample" / "final"


def _script(name: str, *arguments: object, timeout_s: float = 600) -> str:
    """What a script printed. Fails the test with what the script says is wrong."""
    ran = subprocess.run([INFRA / name, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=timeout_s)
    if ran.returncode != 0:
        pytest.fail(ran.stderr.strip(), pytrace=False)
    return ran.stdout.strip()


@contextmanager
def database() -> Iterator[str]:
    """PostgreSQL with the rows the capture ended with; its URL."""
    directory = tempfile.mkdtemp(prefix="crossdock-erp-")
    try:
        url = _script("erp/start.sh", directory)
        with connected(url) as connection:
            seed(connection, EXTRACT)
        yield url
    finally:
        _script("erp/stop.sh", directory, timeout_s=60)
        shutil.rmtree(directory, ignore_errors=True)


class Feed:
    """Kafka Connect, which reads one database for one broker."""

    def __init__(self, directory: Path, broker: str, url: str) -> None:
        self.directory = directory
        self._servers = broker, url

    def start(self) -> None:
        """Read on from what was noted as read."""
        _script("debezium/start.sh", self.directory, *self._servers)

    def kill(self) -> None:
        """kill -9."""
        pid = int((self.directory / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.05)

    def noted_at(self) -> float:
        """When it last noted how far it has read; 0 if never."""
        offsets = self.directory / "offsets"
        return offsets.stat().st_mtime if offsets.exists() else 0.0


@contextmanager
def feed(broker: str, url: str) -> Iterator[Feed]:
    """A feed that is not started yet, and is stopped at the end."""
    directory = Path(tempfile.mkdtemp(prefix="crossdock-debezium-"))
    try:
        yield Feed(directory, broker, url)
    finally:
        _script("debezium/stop.sh", directory, timeout_s=60)
        shutil.rmtree(directory, ignore_errors=True)
