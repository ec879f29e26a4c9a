"""`crossdock bench`: measurements that anybody can repeat."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from infra.demo.sandbox import NoSandbox
from streams.cli.options import AsJson, LogOption, settings_with
from streams.cli.output import CommandFailed, UserError, as_json, number, out, progress, table

if TYPE_CHECKING:
    from infra.bench.outage import OutageBench

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
    from infra.bench import bench_fold  # noqa: PLC0415 - no other command needs it

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
        raise CommandFailed("The stock is not what the events add up to: this is a defect.")


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
    from infra.bench import bench_reserve  # noqa: PLC0415 - no other command needs it

    settings = settings_with(None, log=log)
    kafka = settings.log if settings.is_kafka else None
    bar, task = progress("reservations", requests)
    with bar:
        try:
            found = bench_reserve(requests, lambda done, total: _tell(bar, task, "reservations", done, total), kafka)
        except RuntimeError as error:
            raise CommandFailed(str(error)) from None
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
    from infra.bench.outage import OutageLoad, bench_outage  # noqa: PLC0415 - no other command needs it

    if away >= seconds:
        raise UserError(f"The outage lies within the {seconds:g} s that orders come: make --seconds longer than --outage.")
    bar, task = progress("ERP capture", None)
    with bar:
        told = lambda what, done, total: _tell(bar, task, what, done, total)  # noqa: E731 - one line, used once
        try:
            found = bench_outage(OutageLoad(rate, seconds, away, seed), told)
        except (NoSandbox, RuntimeError) as error:
            raise CommandFailed(str(error)) from None
    if is_json:
        as_json(asdict(found))
    else:
        _show_outage(found)
    if found.wrong:
        raise CommandFailed(f"{len(found.wrong)} things are wrong, first: {found.wrong[0]}")


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
