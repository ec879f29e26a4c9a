"""kill -9 at each named point, on the durable log: after the restart, tables equal a fold of the log from zero, byte for byte."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import StoreId
from streams.engine.verify import state_hash, verify
from tests.support.toy_flows import ALL_TOPICS, CODEC, INBOX, drain, fates, new_worker, run, toy_fold
from tests.unit.engine.test_worker import POINTS, a_day

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 4])
def test_a_killed_worker_leaves_what_the_next_one_needs(tmp_path: Path, point: str, nth: int) -> None:
    log = EmbeddedLog(tmp_path, clock_ms=lambda: 5_000)
    log.create(ALL_TOPICS)
    log.append(a_day())
    log.close()
    child = [sys.executable, "-m", "tests.support.dying_worker", str(tmp_path), point, str(nth)]
    died = subprocess.run(child, cwd=ROOT, capture_output=True, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    log = EmbeddedLog(tmp_path, clock_ms=lambda: 5_000)
    worker = new_worker(log, batch=7)
    drain(worker)
    counted = fates(worker)
    worker.close()
    report = verify(log, [toy_fold()], CODEC)
    log.close()
    assert report.is_same, [r.problem for r in report.partitions]
    expected, judge = run(*a_day())
    assert counted == fates(judge)
    for one in report.partitions:
        assert one.partition.topic == INBOX
        assert one.live_hash == state_hash(expected.store(StoreId("promise", one.partition.partition)))
