"""One round of faults, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from streams.chaos.faults import FAULTS
from streams.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11
LONG = {"kill", "kill-all", "cut", "broker-freeze", "clock"}  # near to others, or slow: `crossdock chaos` has all
WANTED = [name for name in FAULTS if name not in LONG]


def test_a_round_of_faults_is_survived() -> None:
    report = chaos(SEED, faults=WANTED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(WANTED) - len(report.left_out), "the round ended early"
    assert report.left_out.keys() <= {"disk-full"}
