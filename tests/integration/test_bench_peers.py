"""The benchmark beside the peers: small runs of ours end with exact results, and what it says of them adds up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.bench.peers import jobs
from infra.bench.peers.plan import MeasurementPlan, PeersBench
from infra.bench.peers.report import chart, markdown
from infra.bench.peers.traffic import Sums, WarehouseTraffic

OURS = [engine for engine in jobs.ENGINES if engine.name in ("ceiling", "crossdock")]


def result(engine: str, rate: float, wrong: str = "") -> dict[str, object]:
    return {
        "name": f"{engine}-{rate}", "measure": "throughput", "workload": "a", "keys": 10, "engine": engine, "events": 100,
        "number": 1, "rate": 0, "events_per_s": rate, "engine_cpu_us_per_event": 1.0, "broker_cpu_us_per_event": 2.0,
        "bytes_per_event": 30.0, "outputs_per_event": 1.0, "wrong": wrong, "is_compiled": engine == "crossdock-2",
    }  # fmt: skip


def test_the_load_is_the_same_again() -> None:
    """From one seed come the same messages, and each day's nets and units are never below what was promised."""
    first, second = (WarehouseTraffic(50, 7, is_keyed=False) for _ in range(2))
    assert list(first.messages(3_000)) == list(second.messages(3_000))
    assert all(site.usable >= 0 and site.staged >= 0 and site.atp(first.today) >= 0 for site in first.expected.values())
    sums = Sums(10, 7)
    assert len(list(sums.messages(500))) == sum(count for count, _ in sums.expected.values()) == 500


def test_the_report_compares_medians_and_leaves_out_wrong_runs() -> None:
    rates = {"crossdock": (100.0, 300.0, 200.0), "quix": (50.0,), "crossdock-2": (300.0,)}
    results = [result(engine, rate) for engine, found in rates.items() for rate in found]
    text = markdown([*results, result("quix", 9_999.0, wrong="K1 came to 1")], ["quix: K1 came to 1"])
    assert "| crossdock | 200 | 100 to 300 | 1.00 |" in text
    assert "| quix | 50 | 50 to 50 | 4.00 |" in text
    assert "crossdock's rules ran compiled (`infra/compile.sh`) and as plain Python." in text
    assert "crossdock: x 1.50" in text and "- quix: K1 came to 1" in text
    assert chart(results).count("<rect") == 4


def test_slow_engines_get_fewer_events() -> None:
    plan = MeasurementPlan(repeats=2)
    runs = plan.throughput()
    assert len(runs) == 2 * 2 * 2 * len([engine for engine in jobs.ENGINES if "throughput" in engine.measures])
    assert {run.events for run in runs if run.engine.name == "faust" and run.workload == "a"} == {105_000}
    assert len({run.name for run in runs}) == len(runs)


@pytest.mark.kafka
def test_small_runs_are_exact(tmp_path: Path) -> None:
    """crossdock on both workloads, and the bare loop; done again, nothing is left to do."""
    plan = MeasurementPlan(workloads=("a",), measures=("throughput",), keys=(200,), engines=OURS, events=2_000, repeats=1)
    plans = [plan, replace(plan, workloads=("b",), engines=[engine for engine in OURS if engine.name == "crossdock"])]
    for one in plans:
        bench = PeersBench(one, tmp_path)
        bench.run(lambda what, behind, total: None)
        assert bench.failed == [] and bench.left() == []
    found = {(r["engine"], r["workload"]): r for r in bench.results()}
    assert len(found) == 3
    assert found["crossdock", "a"]["outputs_per_event"] == 1
    assert 0 < found["crossdock", "b"]["outputs_per_event"] <= 1
    assert all(r["wrong"] == "" and r["bytes_per_event"] > 0 for r in found.values())
