from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_harness import IMPLEMENTATIONS, Harness


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.kafka if name == "kafka" else ()) for name in IMPLEMENTATIONS])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param == "kafka":
        request.getfixturevalue("broker")
    made = IMPLEMENTATIONS[request.param](tmp_path / "log")
    yield made
    made.log.close()
