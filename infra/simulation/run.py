"""Simulations: a whole run of the system from one seed, with every mishap of log and process, checked at every rest.

    report = simulate(42)                       # replays seed 42, exactly
    reports = simulate_many(range(300), jobs=2, progress=print)

After every step the system is left to come to rest, then held against the oracle (`invariants.py`, `agreement.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from infra.simulation.course import SimulationReport, SimulationRun
from infra.simulation.order_course import Conducted

__all__ = ["SimulationReport", "SimulationRun", "begin", "simulate", "simulate_many"]


def begin(seed: int) -> SimulationRun:
    """The simulation of a seed, at its beginning. Where crossdock runs the orders (odd seeds) and where it looks on (even)."""
    return Conducted(seed) if seed % 2 else SimulationRun(seed)


def simulate(seed: int) -> SimulationReport:
    """One seed. A flow that halts is reported; what else raises is a defect of the simulation and names its seed."""
    try:
        run = begin(seed)
        try:
            return run.go()
        finally:
            run.close()
    except Exception as error:
        error.add_note(f"in the simulation itself, at seed {seed}")
        raise


def simulate_many(
    seeds: Iterable[int], jobs: int = 1, progress: Callable[[SimulationReport], None] | None = None
) -> list[SimulationReport]:
    """Many seeds, on `jobs` processes; `progress` is told of each as it ends. Returns the reports that are not ok."""
    failed: list[SimulationReport] = []
    wanted = list(seeds)
    if jobs == 1:
        reports: Iterable[SimulationReport] = map(simulate, wanted)
        return _collect(reports, progress, failed)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return _collect(pool.map(simulate, wanted, chunksize=8), progress, failed)


def _collect(
    reports: Iterable[SimulationReport], progress: Callable[[SimulationReport], None] | None, failed: list[SimulationReport]
) -> list[SimulationReport]:
    for report in reports:
        if progress is not None:
            progress(report)
        if not report.is_ok:
            failed.append(report)
    return failed
