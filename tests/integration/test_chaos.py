"""One round of faults, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from streams.chaos.faults import FAULTS
from streams.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11
WANTED = [name for name in FAULTS if name != "kill"]  # "kill-point" and "kill-all" are worse


def test_a_round_of_faults_is_survived() -> None:
    report = chaos(SEED, faults=WANTED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(WANTED) - len(report.left_out), "the round ended early"
    assert report.left_out.keys() <= {"disk-full"}
