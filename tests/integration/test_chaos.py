"""One round of faults, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from streams.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11
WANTED = ["kill-point", "storm", "damage", "stall", "broker-kill", "broker-freeze", "leader-change"]
"""Faults of workers, their files, their network and of brokers; `crossdock chaos` has all of them, and takes its time."""


def test_a_round_of_faults_is_survived() -> None:
    report = chaos(SEED, faults=WANTED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(WANTED), "the round ended early"
    assert report.left_out == {}
