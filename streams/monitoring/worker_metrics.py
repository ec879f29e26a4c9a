"""What the workers of a process have done, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.engine.keeper import ThreadKeeper
from streams.engine.worker import Counters
from streams.monitoring.local_rows import CatchingUp


class ThreadMeasures(Collector):
    """How often each kept thread had to be begun again, and which are down."""

    def __init__(self, keepers: Sequence[ThreadKeeper]) -> None:
        self._keepers = tuple(keepers)

    def collect(self) -> Iterator[Metric]:
        """The measures as of now."""
        restarts = CounterMetricFamily("crossdock_thread_restarts", "Times a thread was begun again", labels=["thread"])
        down = GaugeMetricFamily("crossdock_thread_down", "Whether a thread does not run, or hangs", labels=["thread"])
        for keeper in self._keepers:
            ails = keeper.down()
            for name, count in sorted(keeper.restarts().items()):
                restarts.add_metric([name], count)
                down.add_metric([name], float(name in ails))
        yield restarts
        yield down


class WorkMeasures(Collector):
    """Read from the workers when somebody asks, so that counting costs them nothing."""

    def __init__(self, counters: Callable[[], Counters], catching_up: Callable[[], CatchingUp]) -> None:
        self._counters = counters
        self._catching_up = catching_up

    def collect(self) -> Iterator[Metric]:
        """The measures as of now."""
        done, rows = self._counters(), self._catching_up()
        yield CounterMetricFamily("crossdock_worker_records", "Records taken in", done.inputs)
        yield CounterMetricFamily("crossdock_worker_outputs", "Records written", done.outputs)
        yield CounterMetricFamily("crossdock_worker_rows", "Rows changed", done.rows)
        yield CounterMetricFamily("crossdock_worker_batches", "Batches committed", done.batches)
        yield CounterMetricFamily("crossdock_worker_busy_seconds", "From batches' arrival to their commit", done.busy_ms / 1000)
        yield CounterMetricFamily("crossdock_worker_fenced", "Batches dropped because the group had gone on", done.fenced)
        yield CounterMetricFamily("crossdock_worker_unavailable", "Times the log was away", done.unavailable)
        yield GaugeMetricFamily("crossdock_worker_partitions_behind", "Partitions being caught up", rows.partitions)
        yield GaugeMetricFamily("crossdock_worker_changes_behind", "Changes they are behind by", rows.total - rows.done)
        yield CounterMetricFamily(
            "crossdock_worker_stores_remade", "Times kept rows could not be used and were made again", rows.remade
        )
