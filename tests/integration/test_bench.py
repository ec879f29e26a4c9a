"""The measurements measure the real thing: small runs of them end with exact results, and what they hold stays bounded."""

from __future__ import annotations

import gc
import types
from pathlib import Path
from typing import Any

import pytest

from infra.bench import bench_fold, bench_reserve
from infra.bench import traffic as bench_traffic
from infra.bench.fold import FoldRig
from streams.engine.partition import Limits

_CODE = (type, types.ModuleType, types.FunctionType, types.CodeType)


def _held(*roots: Any) -> int:
    """How many elements the containers that can be reached from `roots` hold, code aside."""
    seen: set[int] = set()
    stack, found = list(roots), 0
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, _CODE):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict | list | set | tuple):
            found += len(thing)
        stack += gc.get_referents(thing)
    return found


def test_what_the_fold_holds_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the events, each order with an id of its own: worker, log and traffic hold no more than before."""
    monkeypatch.setattr(bench_traffic, "OPEN_LINES", 20)
    bench = FoldRig(tmp_path, 10, seed=1, limits=Limits(cache_rows=32))
    bench.log.append(bench.outgoing(bench.traffic.masters()))
    held = []
    for _ in range(24):
        bench.load(250)
        bench.drain()
        held.append(_held(bench.worker, bench.log, bench.traffic))
    bench.worker.close()
    bench.log.close()
    assert max(held[6:]) < 1.05 * max(held[:6])


def test_bench_fold_is_exact() -> None:
    """Every item's stock equals the sums its own events add up to, and every event's ATP was seen."""
    seen: list[tuple[str, int, int]] = []
    found = bench_fold(3_000, 50, rates=(500,), progress=lambda *told: seen.append(told))
    assert found.is_exact and found.events == 3_000 and found.rows > 3_000
    assert set(found.latency_ms) == {500} and found.latency_ms[500]["p50"] <= found.latency_ms[500]["max"]
    assert ("events", 3_000, 3_000) in seen


def test_bench_reserve_gets_every_unit() -> None:
    """A server of its own process grants one unit after another."""
    found = bench_reserve(20)
    assert found.requests == 20 and 0 < found.p50_ms <= found.p99_ms <= found.max_ms
