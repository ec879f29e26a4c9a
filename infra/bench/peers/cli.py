"""`crossdock bench peers`."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import AsJson
from streams.cli.output import CommandFailed, UserError, as_json, err, out, progress

if TYPE_CHECKING:
    from infra.bench.peers.plan import MeasurementPlan, PeersBench

QUICK_ENGINES = "ceiling,crossdock"
QUICK_EVENTS = 20_000


def peers(
    workload: Annotated[
        list[str] | None, typer.Option(help="a: keyed sums; b: the promise; b-keyed: with keyed input (default: a and b).")
    ] = None,
    measure: Annotated[list[str] | None, typer.Option(help="throughput, latency, restore (default: all).")] = None,
    only: Annotated[str, typer.Option(help="Engines, with commas between: see --list (default: all).")] = "",
    events: Annotated[int | None, typer.Option(min=2_000, help="Events of a run (default: 2 million for a, 1 for b).")] = None,
    keys: Annotated[list[int] | None, typer.Option(min=1, help="Keys (default: 20,000 and 1,000,000).")] = None,
    rows: Annotated[int, typer.Option(min=2_000, help="Rows of the store that is restored.")] = 5_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of which the median is taken.")] = 5,
    into: Annotated[Path, typer.Option(help="Where results go; a benchmark that was interrupted there goes on.")] = Path("peers"),
    quick: Annotated[
        bool, typer.Option("--quick", help=f"Small runs in 3 minutes: engines {QUICK_ENGINES} unless named.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the engines and the time it would take, and stop.")] = False,
    is_json: AsJson = False,
) -> None:
    """Beside Kafka Streams, Quix Streams, Faust and a bare loop, on a broker of its own (Java, Maven the first time).

    crossdock bench peers --workload a --events 2000000 --only crossdock,kafka-streams
    """
    from infra.bench.peers.jobs import MEASURES, WORKLOADS  # noqa: PLC0415 - no other command needs it
    from infra.bench.peers.plan import MeasurementPlan, PeersBench  # noqa: PLC0415

    plan = MeasurementPlan(
        workloads=[known for known in WORKLOADS if known in _known(workload or ["a", "b"], WORKLOADS, "--workload")],
        measures=_known(measure or list(MEASURES), MEASURES, "--measure"),
        events=events,
        rows=rows,
        repeats=repeats,
    )
    if keys:
        plan = replace(plan, keys=keys)
    if quick:
        plan = _quick(plan, are_keys_given=bool(keys))
        only = only or QUICK_ENGINES
    plan = _with_engines(plan, only)
    bench = PeersBench(plan, into.resolve())
    todo = bench.left()
    minutes = sum(run.seconds for run in todo) / 60
    err().print(
        f"{len(todo)} runs of {', '.join(engine.name for engine in plan.engines)}: about {minutes:,.0f} minutes, into {into}"
    )
    if list_:
        return
    _measure(bench)
    _report(bench, is_json=is_json)


def _quick(plan: MeasurementPlan, *, are_keys_given: bool) -> MeasurementPlan:
    """What shows in three minutes that everything runs; its figures mean nothing."""
    return replace(
        plan,
        events=plan.events or QUICK_EVENTS,
        repeats=1,
        keys=plan.keys if are_keys_given else (2_000,),
        rows=QUICK_EVENTS,
        with_half=False,
        rates=(500,),
        latency_s=5,
    )


def _measure(bench: PeersBench) -> None:
    from infra.bench.peers.cluster import CannotMeasure  # noqa: PLC0415

    # Ended in whatever way, it ends its brokers and the engines.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bar, task = progress("peers", 1)
    with bar:
        try:
            bench.run(lambda what, behind, total: bar.update(task, description=what, completed=behind, total=total))
        except CannotMeasure as error:
            raise CommandFailed(str(error)) from None


def _report(bench: PeersBench, *, is_json: bool) -> None:
    from infra.bench.peers.report import write  # noqa: PLC0415

    results = bench.results()
    if is_json:
        as_json(results)
    report, picture = write(bench.directory, results, bench.failed)
    if not is_json:
        out().print(report.read_text(), markup=False, highlight=False)
    err().print(f"{report}, {picture}; each run in {bench.runs}")
    if bench.failed:
        raise CommandFailed(f"{len(bench.failed)} runs do not count; the first: {bench.failed[0]}")


def _known(given: list[str], known: tuple[str, ...], option: str) -> list[str]:
    if unknown := [name for name in given if name not in known]:
        raise UserError(f"{option} {unknown[0]} is unknown: it is one of {', '.join(known)}.")
    return given


def _with_engines(plan: MeasurementPlan, only: str) -> MeasurementPlan:
    from infra.bench.peers.jobs import ENGINES  # noqa: PLC0415

    if not only:
        return plan
    names = _known([name.strip() for name in only.split(",")], tuple(engine.name for engine in ENGINES), "--only")
    return replace(plan, engines=[engine for engine in ENGINES if engine.name in names])
