"""Commands that prove: verify (the tables are the log's), simulate (seeds), bench."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.codec import Codec
from streams.app import App
from streams.cli.options import AsJson, Data, LogOption, settings_for, settings_with
from streams.cli.say import Failed, Mistake, as_json, err, number, out, progress, table
from streams.cli.session import beside, caught_up, running
from streams.demo.sandbox import NoSandbox
from streams.engine.verdict import Verdict, overall
from streams.engine.verify import PartitionReport
from streams.engine.verify import verify as verified
from streams.folded_with import mixed
from streams.opening import opened_log
from streams.roles import ROLES, by_group, group_of
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.bench.outage import OutageBench


def verify(is_json: AsJson = False, data: Data = None) -> None:
    """Fold the whole log again from its start and compare every row with the tables. 0 only if all are the same.

    crossdock verify
    """
    settings = settings_for(data)
    url = running(settings.directory)
    if url is not None:
        raise Mistake(f"A crossdock runs on {settings.directory}, at {url}, and would change it meanwhile: stop it first.")
    found = _verified(settings)
    verdict = overall(p.verdict for p in found)
    counts = {each: sum(p.verdict is each for p in found) for each in Verdict}
    if is_json:
        rows = [
            asdict(p)
            | {"partition": f"{p.partition.topic}/{p.partition.partition}", "is_same": p.is_same, "is_unknown": p.is_unknown}
            for p in found
        ]
        told = {"verdict": verdict, "is_same": verdict is Verdict.SAME, "counts": counts}
        as_json(told | {"inputs": sum(p.inputs for p in found), "partitions": rows})
    else:
        _show_verified(found)
    if changed := mixed(settings.directory, settings.to_policies()):
        err().print(changed, style="yellow", soft_wrap=True)
    if verdict is not Verdict.SAME:
        raise Failed(_summary(counts, len(found)))


def _summary(counts: dict[Verdict, int], total: int) -> str:
    """What is wrong, in a sentence."""
    said = []
    if different := counts[Verdict.DIFFERENT]:
        said.append(f"{different} of {total} partitions are not what their log says.")
    if unknown := counts[Verdict.UNKNOWN]:
        said.append(
            f"Nothing is known of {unknown} of {total} partitions, because they could not be compared: see above for why."
        )
    return " ".join(said) or "There was nothing to compare."


def _verified(settings: Settings) -> list[PartitionReport]:
    """The report on every partition, group by group."""
    patience_s = 5.0 + (2 * settings.kafka.session_ms / 1000 if settings.is_kafka else 0.0)  # the dead hold theirs so long
    found: list[PartitionReport] = []
    with opened_log(settings, may_create=False, directory=beside(settings)) as log:
        app = App(settings, log, roles={"serve"} if settings.is_kafka else ROLES)
        app.look()
        caught_up(app)
        bar, task = progress("folding again", None)
        with bar:
            for group, flows in by_group(app.flows, group_of(is_kafka=settings.is_kafka)).items():
                told = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731 - one line, used once
                found += verified(log, flows, Codec(), told, group=group, patience_s=patience_s).partitions
    return found


def _show_verified(partitions: list[PartitionReport]) -> None:
    flows: dict[str, list[PartitionReport]] = {}
    for p in partitions:
        flows.setdefault(p.flow, []).append(p)
    rows = [
        (
            flow,
            sum(p.inputs for p in parts),
            f"{sum(p.is_same for p in parts)} of {len(parts)}",
            sum(p.is_unknown for p in parts),
            parts[0].live_hash[:16],
        )
        for flow, parts in flows.items()
    ]
    columns = ("flow", "records folded", "partitions the same", "unknown", "hash of the first")
    console = out()
    console.print(table("Tables against the log", columns, rows, right=("records folded", "unknown")))
    for p in partitions:
        if p.problem:
            console.print(f"{p.flow} {p.partition.topic}/{p.partition.partition} is {p.verdict}: {p.problem}", markup=False)


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 100,
    seed: Annotated[int | None, typer.Option(help="This one seed only: it replays exactly.")] = None,
    start: Annotated[int, typer.Option(help="The first seed.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    is_json: AsJson = False,
) -> None:
    """Run the whole system on a log that fails on purpose, from seeds, against an independent model of what is right.

    crossdock simulate --seeds 300
    crossdock simulate --seed 42
    """
    from streams.simulation.run import SimulationReport, simulate_many  # noqa: PLC0415 - a thousand lines no other command needs

    wanted = range(start, start + seeds) if seed is None else [seed]
    messages = 0
    bar, task = progress("seeds", len(wanted))

    def told(report: SimulationReport) -> None:
        nonlocal messages
        messages += report.messages
        bar.advance(task)

    with bar:
        failed = simulate_many(wanted, jobs, told)
    if is_json:
        as_json({"seeds": len(wanted), "messages": messages, "failed": [asdict(report) for report in failed]})
    else:
        for report in failed:
            out().print(str(report), markup=False)
        out().print(f"{len(wanted) - len(failed):,} of {len(wanted):,} seeds hold every invariant; {messages:,} messages")
    if failed:
        raise Failed(f"{len(failed)} seeds failed; the first: crossdock simulate --seed {failed[0].seed}")


bench = typer.Typer(help="Measure. Run it on an idle machine.", no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Measure. Run it on an idle machine."""


@bench.command()
def fold(
    events: Annotated[int, typer.Option(min=1_000, help="How many promise events.")] = 1_000_000,
    keys: Annotated[int, typer.Option(min=1, help="How many items.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The events' seed.")] = 1,
    rate: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Events a second at which latency is measured, 10 s each (default: 100, 1000)."),
    ] = None,
    is_json: AsJson = False,
) -> None:
    """The promise fold on the embedded log, one process: events/s, latency from append to ATP, memory.

    crossdock bench fold --events 1000000
    """
    from streams.bench import bench_fold  # noqa: PLC0415 - no other command needs it

    bar, task = progress("events", events)
    with bar:
        told = lambda what, done, total: _tell(bar, task, what, done, total)  # noqa: E731 - one line, used once
        found = bench_fold(events, keys, rates=tuple(rate or (100, 1_000)), seed=seed, progress=told)
    if is_json:
        as_json(asdict(found))
        return
    rows = [
        (name.replace("_", " "), number(round(value, 2) if isinstance(value, float) else value)) for name, value in _flat(found)
    ]
    out().print(table("Promise fold on the embedded log", ("measure", "value"), rows, right=("value",)))
    if not found.is_exact:
        raise Failed("The stock is not what the events add up to: this is a defect.")


@bench.command()
def reserve(
    requests: Annotated[int, typer.Option(min=10, max=100_000, help="How many reservations.")] = 1_000,
    is_json: AsJson = False,
    log: LogOption = None,
) -> None:
    """Reservations over HTTP, one after another: how long a channel waits for its answer.

    On Kafka, everything that runs on that log takes part.

    crossdock bench reserve --requests 1000
    crossdock bench reserve --log kafka://broker:9092
    """
    from streams.bench import bench_reserve  # noqa: PLC0415 - no other command needs it

    settings = settings_with(None, log=log)
    kafka = settings.log if settings.is_kafka else None
    bar, task = progress("reservations", requests)
    with bar:
        try:
            found = bench_reserve(requests, lambda done, total: _tell(bar, task, "reservations", done, total), kafka)
        except RuntimeError as error:
            raise Failed(str(error)) from None
    if is_json:
        as_json(asdict(found))
        return
    out().print(
        table("Reservations over HTTP", ("measure", "value"), [(n, number(round(v, 1))) for n, v in asdict(found).items()])
    )


@bench.command()
def outage(
    rate: Annotated[float, typer.Option(min=0.5, max=500, help="Orders a second.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="For how long orders come.")] = 100,
    away: Annotated[
        float, typer.Option("--outage", min=0, help="For how many seconds of them, in the middle, the WMS is away.")
    ] = 60,
    seed: Annotated[int, typer.Option(help="The orders' seed.")] = 1,
    is_json: AsJson = False,
) -> None:
    """Orders of four channels at a steady rate, the WMS away for a while: how long what it was owed takes, in order, each once.

    crossdock bench outage --rate 50 --seconds 100 --outage 60
    """
    from streams.bench.outage import Load, bench_outage  # noqa: PLC0415 - no other command needs it

    if away >= seconds:
        raise Mistake(f"The outage lies within the {seconds:g} s that orders come: make --seconds longer than --outage.")
    bar, task = progress("ERP capture", None)
    with bar:
        told = lambda what, done, total: _tell(bar, task, what, done, total)  # noqa: E731 - one line, used once
        try:
            found = bench_outage(Load(rate, seconds, away, seed), told)
        except (NoSandbox, RuntimeError) as error:
            raise Failed(str(error)) from None
    if is_json:
        as_json(asdict(found))
    else:
        _show_outage(found)
    if found.wrong:
        raise Failed(f"{len(found.wrong)} things are wrong, first: {found.wrong[0]}")


def _show_outage(found: OutageBench) -> None:
    console = out()
    shown = asdict(found)
    plain = [(name.replace("_", " "), value) for name, value in shown.items() if isinstance(value, int | float)]
    console.print(table("Orders with the WMS away", ("measure", "value"), plain, right=("value",)))
    rows = [(name, *figures.values()) for name, figures in shown["endpoints"].items()]
    names = [name.replace("_", " ") for name in next(iter(shown["endpoints"].values()), {})]
    console.print(table("What the systems were owed", ("system", *names), rows, right=names))
    console.print(table("CPU ms for an order", ("part", "ms"), found.cpu_ms.items(), right=("ms",)))
    for sentence in found.wrong:
        console.print(f"[bold red]WRONG[/]: {escape(sentence)}")


def _tell(bar: Any, task: Any, what: str, done: int, total: int) -> None:
    bar.update(task, description=what, completed=done, total=total)


def _flat(found: Any) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in asdict(found).items():
        if isinstance(value, dict) and name == "latency_ms":
            rows += [(f"{measure} ms at {rate:,} events/s", ms) for rate, by in value.items() for measure, ms in by.items()]
        elif isinstance(value, dict):
            rows += [(f"{name} {key}", inner) for key, inner in value.items()]
        else:
            rows.append((name, value))
    return rows
