"""The measurements measure the real thing: small runs of them end with exact results."""

from __future__ import annotations

from streams.bench import bench_fold, bench_reserve


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
