"""The order fold and the promise fold side by side: whatever travels when, in the end both say the same of each line."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.inventory import RequestAllocation
from schemas.orders import LineAnswered, LineExecution
from tests.properties.test_orders import Feeds, histories, interleave, run
from tests.support.orders import ORDER, FakePromise, stock_facts
from tests.support.promises import Bench


class RealPromise(FakePromise):
    """The promise fold's own rules, with the stock there is received at the start."""

    def __init__(self, stock: dict[str, int]) -> None:
        super().__init__(stock)
        self.bench = Bench()
        for item in "ABZ":
            self.bench.item(item, pack_uom="CS")
            if units := stock.get(item, 1000):
                self.bench.receive(str(units), item)

    def ask(self, e: RequestAllocation) -> list[LineAnswered]:
        return self._say(e)

    def execute(self, e: LineExecution) -> list[LineAnswered]:
        return [answer for fact in stock_facts(e) for answer in self._say(fact)]

    def _say(self, event: Any) -> list[LineAnswered]:
        said = len(self.bench.said)
        assert self.bench.apply(event) == "applied"
        return [x for x in self.bench.said[said:] if isinstance(x, LineAnswered)]


def agree(feeds: Feeds, stock: dict[str, int], seed: int) -> None:
    promise = RealPromise(stock)
    w = run(interleave(feeds, seed, repeats=True), stock, seed, promise)
    assert not w.parked
    for (_, number), line in w.tables.lines.under(ORDER):
        demand = promise.bench.t.demands.get((line.item, ORDER, number))
        if demand is None or not line.is_listed or line.state == "refused":
            continue
        served = sum(max(x.picked_milli, x.shipped_milli) for x in demand.executed) + demand.substituted_milli
        wanted = max(demand.wanted_milli, served, demand.erp_shipped_milli)
        assert line.wanted_milli == min(line.ordered_milli, wanted)
        assert line.allocated_milli == sum(part.qty_milli for part in demand.parts)
        assert line.backordered_milli == demand.backordered_milli


@settings(max_examples=60)
@given(histories(), st.integers(0, 2**32))
def test_both_folds_agree_on_every_line(history: tuple[Feeds, dict[str, int]], seed: int) -> None:
    feeds, stock = history
    agree(feeds, stock, seed)


@settings(max_examples=60)
@given(histories(backorder=False), st.integers(0, 2**32), st.integers(0, 40))
def test_both_folds_agree_where_nothing_may_wait(history: tuple[Feeds, dict[str, int]], seed: int, units: int) -> None:
    feeds, _ = history
    agree(feeds, {"A": units, "B": 9}, seed)
