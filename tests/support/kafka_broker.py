"""One broker a test session, started when the first test asks for it. Where none can be started, the test says why and fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

KAFKA = "CROSSDOCK_TEST_KAFKA"
"""Names the bootstrap address of the broker under test; set by the `broker` fixture unless it is given."""
SCRIPTS = Path(__file__).parents[2] / "infra" / "kafka"


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The bootstrap address."""
    given = os.environ.get(KAFKA)
    if given:
        yield given
        return
    # Not below the project: the log of a broker is large, and must go even if the tests are interrupted early.
    directory = tempfile.mkdtemp(prefix="crossdock-kafka-")
    try:
        started = subprocess.run([SCRIPTS / "start.sh", directory], capture_output=True, text=True, check=False, timeout=600)
        if started.returncode != 0:
            pytest.fail(f"no broker to test with: {started.stderr.strip()}", pytrace=False)
        os.environ[KAFKA] = address = started.stdout.strip()
        yield address
    finally:
        os.environ.pop(KAFKA, None)
        subprocess.run([SCRIPTS / "stop.sh", directory], capture_output=True, check=False, timeout=60)
        shutil.rmtree(directory, ignore_errors=True)
