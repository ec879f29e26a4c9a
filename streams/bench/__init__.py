"""Measurements a user can repeat: `crossdock bench`."""

from streams.bench.fold import FoldBench, bench_fold
from streams.bench.reserve import ReserveBench, bench_reserve

__all__ = ["FoldBench", "ReserveBench", "bench_fold", "bench_reserve"]
