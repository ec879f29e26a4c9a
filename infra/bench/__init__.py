"""Measurements a user can repeat: `crossdock bench`."""

from infra.bench.fold import FoldBench, bench_fold
from infra.bench.reserve import ReserveBench, bench_reserve

__all__ = ["FoldBench", "ReserveBench", "bench_fold", "bench_reserve"]
