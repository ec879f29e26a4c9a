"""`crossdock demo`: crossdock with systems to run with, from nothing."""

from __future__ import annotations

import contextlib
import shutil
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from infra.demo.assembly import DemoAssembly
from infra.demo.invariants import Invariant
from infra.demo.outcome import Summary
from infra.demo.sandbox import NoSandbox
from infra.demo.servers import NoServers, Servers
from infra.demo.servers import running as servers_running
from schemas.quantity import show, to_decimal
from streams.cli.options import AsJson, Data
from streams.cli.output import CommandFailed, UserError, as_json, err, out, table
from streams.cli.serve import listening
from streams.cli.session import running
from streams.settings.settings import Settings, load

DEMO_FILE = "demo.txt"
Address = Annotated[
    str | None, typer.Option("--api", help="Where the API listens, like 127.0.0.1:8080; port 0 takes a free one.")
]


def demo(
    is_once: Annotated[bool, typer.Option("--once", help="End after the summary, with 0 if every invariant holds.")] = False,
    orders: Annotated[int, typer.Option(min=1, max=100_000, help="How many orders the channels send.")] = 200,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="How many of them a second.")] = 20,
    garbage: Annotated[int, typer.Option(min=0, max=60, help="How many messages nobody can understand.")] = 12,
    seed: Annotated[int, typer.Option(help="The seed: the same one makes the same orders.")] = 1,
    is_kafka: Annotated[
        bool,
        typer.Option(
            "--kafka", help="On Kafka, with the ERP's rows from PostgreSQL by Debezium: all started, and stopped again."
        ),
    ] = False,
    is_json: AsJson = False,
    data: Data = None,
    api: Address = None,
) -> None:
    """Try it out, from nothing: a real ERP capture, an ERP, a WMS and a CRM to run with, orders of four channels, the live page.

    crossdock demo
    crossdock demo --once --orders 500 --seed 7
    crossdock demo --kafka
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # at any time, it is to end what it has started
    settings = _settings(data, api)
    url = running(settings.directory)
    if url is not None:
        raise UserError(f"A crossdock already runs on {settings.directory}, at {url}: stop it, or give the demo another --data.")
    _empty(settings.directory)
    with listening(settings) as sock, contextlib.ExitStack() as stack:
        try:
            stage = DemoAssembly(settings, sock, seed, stack, servers=_servers(stack) if is_kafka else None)
        except (NoSandbox, NoServers) as error:
            raise CommandFailed(str(error)) from None
        summary, invariants = _day(stage, seed, orders, garbage, rate)
        (_printed_json if is_json else _printed)(summary, invariants)
        if not all(invariant.holds for invariant in invariants):
            raise CommandFailed("An invariant does not hold: see above.")
        if not is_once:
            _invite(settings, stage, summary)
            stage.go_on()


def _servers(stack: contextlib.ExitStack) -> Servers:
    err().print("Starting Kafka and PostgreSQL (the first time, their programs are fetched) ...", soft_wrap=True)
    return stack.enter_context(servers_running())


def _empty(directory: Path) -> None:
    """An empty directory, marked as a demonstration's. What an earlier demonstration left there goes; nothing else does."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / DEMO_FILE).exists():
            raise UserError(f"{directory} is not empty, and the demo starts on an empty log: give it another --data.")
        err().print(f"The earlier demonstration in {directory} is removed.", soft_wrap=True)
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / DEMO_FILE).write_text("This log was made by crossdock demo, which may remove it.\n")


def _day(stage: DemoAssembly, seed: int, orders: int, garbage: int, rate: float) -> tuple[Summary, list[Invariant]]:
    err().print(f"The live page: [bold]{stage.url}[/]", soft_wrap=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err(), transient=True)
    tasks: dict[str, TaskID] = {}

    def step(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    with bar:
        try:
            return stage.day(step).run(seed, orders, garbage, rate)
        except RuntimeError as error:
            raise CommandFailed(str(error)) from None


def _printed_json(summary: Summary, invariants: list[Invariant]) -> None:
    plain = asdict(summary)
    plain["busiest"] = [
        {_bare(k): to_decimal(v) if k.endswith("_milli") else v for k, v in row.items()} for row in summary.busiest
    ]
    as_json(plain | {"invariants": [asdict(i) | {"holds": i.holds} for i in invariants]})


def _printed(summary: Summary, invariants: list[Invariant]) -> None:
    console = out()
    console.print(table("Messages taken in", ("source", "messages"), summary.messages.items(), right=("messages",)))
    console.print(table("Orders", ("status", "orders"), summary.orders_by_status.items(), right=("orders",)))
    names = ("orders", "median_s", "late")
    rows = [(name.replace("_", " "), *(found[n] for n in names)) for name, found in summary.milestones.items()]
    console.print(table("Milestones", ("milestone", "orders", "seconds since the one before", "late"), rows, right=names))
    busy = [
        (r["item"], r["uom"], r["lines"], show(r["demand_milli"]), show(r["atp_milli"]), show(r["promise_milli"]))
        for r in summary.busiest
    ]
    columns = ("item", "unit", "order lines", "open demand", "ATP", "can be promised")
    console.print(table("Busiest items", columns, busy, right=columns[2:]))
    fates = ("inputs", "applied", "duplicate", "ignored", "dead_lettered", "parked")
    became = [(flow, *(found[name] for name in fates)) for flow, found in summary.fates.items()]
    console.print(table("What became of every record", ("flow", *fates), became, right=fates))
    console.print(table("Dead letters", ("reason", "count"), summary.dead_letters.items(), right=("count",)))
    console.print(table("Open exceptions", ("code", "count"), summary.exceptions.items(), right=("count",)))
    delivered = ", ".join(f"{name} {count:,}" for name, count in summary.obligations.items())
    console.print(
        f"{summary.lines_kept:,} lines shipped in full, {summary.lines_short:,} fell short, {summary.lines_waiting:,} wait for"
        f" stock; oversold: {summary.oversold}. Delivered to {delivered}; owed: {summary.obligations_open}."
    )
    console.print(
        f"{summary.events:,} records in {summary.seconds:,} s; the ERP's rows at {summary.events_per_s:,} records/s; "
        f"{summary.duplicates:,} duplicates absorbed; from message to ATP: "
        f"p50 {summary.ingest_to_atp_p50_ms} ms, p99 {summary.ingest_to_atp_p99_ms} ms"
    )
    for invariant in invariants:
        mark = "[green]holds[/]" if invariant.holds else "[bold red]VIOLATED[/]"
        console.print(f"{mark}: {invariant.name} ({invariant.checked:,} checked)")
        for violation in invariant.violations:
            console.print(f"  {violation}", markup=False)


def _bare(name: str) -> str:
    return name.removesuffix("_milli")


def _invite(settings: Settings, stage: DemoAssembly, summary: Summary) -> None:
    item = summary.busiest[0]["item"] if summary.busiest else "ITEM"
    where = "" if settings.directory == Path("data") else f" --data {settings.directory}"
    lines = [
        f"crossdock atp {item}{where}",
        f"crossdock explain {item}{where}",
        f"crossdock exceptions{where}",
        f"crossdock doctor{where}",
    ]
    err().print(
        f"\nOrders go on coming in. Look at [bold]{stage.url}[/], or try, in another terminal:",
        *lines,
        sep="\n  ",
        soft_wrap=True,
    )
    if stage.servers is not None:
        change = f"UPDATE item SET safety_stock = safety_stock + 3 WHERE item_no = '{item}'"  # noqa: S608 - shown, not run
        tell = [
            "The ERP's database, from where a change goes to the live page at once:",
            f'psql {stage.servers.erp} -c "{change}"',
        ]
        tell.append(f".venv/bin/python -m infra.erp.load {stage.servers.erp} --rate 10 --seconds 60")
        # As they are, password and all: they are to be pasted, and the database goes with the demonstration.
        err().print(*map(Text, tell), sep="\n  ", soft_wrap=True)
    err().print("Interrupt it with Ctrl-C.")


def _settings(data: Path | None, api: str | None) -> Settings:
    given: dict[str, Any] = {} if api is None else {"api": api}
    return load(**given) if data is None else load(data=data, log=f"embedded:{data}", **given)
