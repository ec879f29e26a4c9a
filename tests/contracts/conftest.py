from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.harness import IMPLEMENTATIONS, Harness


@pytest.fixture(params=list(IMPLEMENTATIONS))
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    made = IMPLEMENTATIONS[request.param](tmp_path / "log")
    yield made
    made.log.close()
