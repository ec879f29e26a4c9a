"""Measurements a user can repeat: `crossdock bench`."""

from streams.bench.fold import FoldBench, bench_fold

__all__ = ["FoldBench", "bench_fold"]
