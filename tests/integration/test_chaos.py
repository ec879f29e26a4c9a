"""Every fault once, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from streams.chaos.faults import FAULTS
from streams.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11


def test_every_fault_is_survived() -> None:
    report = chaos(SEED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(FAULTS) - len(report.left_out), "the round ended early"
    assert report.left_out.keys() <= {"disk-full"}
