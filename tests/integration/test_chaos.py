"""One round of faults, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from streams.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11
"""Its members are static."""
WANTED = ["kill-point", "storm", "damage", "stall", "broker-kill", "broker-freeze", "leader-change"]
"""Of workers, their files, their network and the brokers; `crossdock chaos` has the others too, for as long as wanted."""


def test_a_round_of_faults_is_survived() -> None:
    report = chaos(SEED, faults=WANTED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(WANTED), "the round ended early"
    assert report.left_out == {}
