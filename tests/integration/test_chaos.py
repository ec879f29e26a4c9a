"""One round of faults, on brokers of its own: after each, everything holds. `crossdock chaos` is the same for longer."""

from __future__ import annotations

import pytest

from infra.chaos.run import chaos

pytestmark = pytest.mark.kafka
SEED = 11
WANTED = [
    "kill-point", "storm", "damage", "rot", "copied-directory", "thread", "garbage", "clock", "stall", "leader-change",
    "broker-kill", "broker-freeze",
]  # fmt: skip
"""Faults of workers (their files, threads, clocks, network), feeds and brokers. `crossdock chaos` has more, and takes its time.
When a broker goes, a client of librdkafka 2.16 may lock itself up for good (ADR 0013): then its process is started again, a
minute later.
"""


def test_a_round_of_faults_is_survived() -> None:
    report = chaos(SEED, faults=WANTED)
    assert [(one.fault, one.what, one.wrong) for one in report.failed] == []
    assert report.survived == len(WANTED), "the round ended early"
    assert report.left_out == {}
