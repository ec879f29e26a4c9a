"""Commands that stay: run, and demo (which then serves too)."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from connectors.api.app import create_api, create_health_api
from schemas.quantity import show, to_decimal
from streams.app import App
from streams.cli.catchup import CatchUpWatcher
from streams.cli.options import AsJson, Data, LogOption, roles_named, settings_with
from streams.cli.say import Failed, Mistake, as_json, err, out, table
from streams.cli.session import running
from streams.demo.invariants import Invariant
from streams.demo.outcome import Summary
from streams.demo.sandbox import NoSandbox
from streams.demo.servers import NoServers, Servers
from streams.demo.servers import running as servers_running
from streams.demo.stage import Stage
from streams.engine.embedded import EmbeddedLog
from streams.engine.log import Unavailable
from streams.engine.process import calm_collector
from streams.http_server import Bounds, server_config
from streams.opening import opened_log
from streams.reports import Reporter, Reports, hung
from streams.roles import ROLES, WORKING, Role
from streams.serving import ApiServer, address_noted, bound
from streams.settings import Settings, load
from streams.supervise import Supervisor, end_with_parent, worker_command, worker_directory

DEMO_FILE = "demo.txt"
Address = Annotated[
    str | None, typer.Option("--api", help="Where the API listens, like 127.0.0.1:8080; port 0 takes a free one.")
]
HealthAddress = Annotated[
    str | None,
    typer.Option(
        "--api",
        help="Where the API listens, like 127.0.0.1:8080; port 0 takes a free one. Without the role serve, only if given here: "
        "for /healthz, /readyz and /metrics.",
    ),
]


def run(
    data: Data = None,
    api: HealthAddress = None,
    log: LogOption = None,
    roles: Annotated[
        str | None, typer.Option(help=f"What this process does, on Kafka: {', '.join(ROLES)} (default: all).", show_default=False)
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="On Kafka: fold and translate in so many processes, kept running by this one.")
    ] = 1,
    accepts_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Open an embedded log also if it is not all there (damaged files, no backup), say what is lost, and go on.",
        ),
    ] = False,
    child: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work everything off as it comes, and serve the HTTP API, in the foreground until interrupted.

    crossdock run
    crossdock run --data ./data --api 127.0.0.1:9000
    crossdock run --log kafka://broker:9092 --workers 2
    crossdock run --log kafka://broker:9092 --roles serve --data ./other
    crossdock run --log kafka://broker:9092 --roles fold,translate --data ./third --api 127.0.0.1:9002
    """
    settings = settings_with(data, api=api, log=log)
    wanted = _roles(settings, roles, workers)
    if accepts_loss and settings.is_kafka:
        raise Mistake("--accept-loss is for the embedded log: on Kafka the brokers have all there is.")
    url = running(settings.directory) if child is None else None
    if url is not None:
        raise Mistake(f"A crossdock already runs on {settings.directory}, at {url}.")
    calm_collector()
    directory = None if child is None else worker_directory(settings, child)
    try:
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(listening(settings)) if "serve" in wanted or api is not None else None
            Running(settings, wanted, workers, sock, stack, directory, accepts_loss=accepts_loss).until_interrupted(
                is_child=child is not None
            )
    except Unavailable as error:
        raise Failed(f"{error}: is the broker running?" if settings.is_kafka else f"{error}.") from None


def _roles(settings: Settings, roles: str | None, workers: int) -> frozenset[Role]:
    """The roles asked for. Raises `Mistake`."""
    wanted = frozenset(roles_named(roles, ROLES))
    if not settings.is_kafka and (wanted != frozenset(ROLES) or workers > 1):
        raise Mistake(
            "The embedded log is one process's, which does everything: --roles and --workers are for a log on Kafka, like "
            "--log kafka://broker:9092."
        )
    if workers > 1 and not wanted & WORKING:
        raise Mistake(f"--workers {workers} is for the roles fold and translate, and --roles names neither.")
    return wanted


class Running:
    """What `crossdock run` starts: an app with this process's roles, child processes for the others. `stack` ends it."""

    def __init__(
        self,
        settings: Settings,
        roles: frozenset[Role],
        workers: int,
        sock: socket.socket | None,
        stack: contextlib.ExitStack,
        directory: Path | None,
        *,
        accepts_loss: bool,
    ) -> None:
        self._settings = settings
        self._ending = threading.Event()
        own = roles - WORKING if workers > 1 else roles
        self._sock = sock
        log = stack.enter_context(opened_log(settings, may_create=True, directory=directory, accept_loss=accepts_loss))
        if isinstance(log, EmbeddedLog):
            for loss in log.losses:
                err().print(f"crossdock: {loss}", markup=False, highlight=False, soft_wrap=True)
        self._app = App(settings, log, roles=own, directory=directory)
        if workers > 1:
            command = partial(worker_command, settings, roles)
            directory_of = partial(worker_directory, settings)
            hangs = lambda number, pid: hung(directory_of(number), pid)  # noqa: E731
            children = Supervisor(workers, command, directory_of, hangs=hangs, keeper=self._app.keeper)
            reports = Reports(children.running, directory_of)
            self._app.registry.register(reports)
            self._app.check("processes", children.told)
            self._app.check("their work", reports.told)
            children.start()
            stack.callback(children.stop)
        stack.callback(self._app.stop)
        self._app.start()
        if directory is not None:
            reporter = Reporter(directory, self._app.ailing, self._app.rows_told, self._app.work, self._app.keeper)
            reporter.start()
            stack.callback(reporter.close)
        elif settings.is_kafka:
            stack.callback(CatchUpWatcher(self._app).close)

    def until_interrupted(self, *, is_child: bool) -> None:
        """Serve, or wait, until SIGINT, SIGTERM, or (a child) until the parent is gone."""
        if self._sock is not None and "serve" in self._app.roles:
            serve(self._app, self._sock)
            return
        if not is_child:
            roles = ", ".join(role for role in ROLES if role in self._app.roles) or "its worker processes"
            err().print(f"crossdock runs {roles} on {self._settings.log}. Interrupt it with Ctrl-C.", soft_wrap=True)
        if self._sock is not None:
            _serve_health(self._app, self._sock)
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._ending.set())
        if is_child:
            end_with_parent(self._ending.set)
        while not self._ending.wait(1.0):
            pass


def _settings(data: Path | None, api: str | None) -> Settings:
    given: dict[str, Any] = {} if api is None else {"api": api}
    return load(**given) if data is None else load(data=data, log=f"embedded:{data}", **given)


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The API's socket. Raises `Mistake` if its address is taken."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(bound(settings.api_host, settings.api_port))
        except OSError as error:
            raise Mistake(
                f"{settings.api} cannot be used ({error.strerror}). Choose another port; --api 127.0.0.1:0 takes a free one."
            ) from None
        yield sock


def serve(app: App, sock: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM. The address is in the data directory meanwhile, for the other commands."""
    url = _url(sock)
    err().print(f"crossdock listens on [bold]{url}[/] (documentation: {url}/docs). Interrupt it with Ctrl-C.", soft_wrap=True)
    with address_noted(app.settings.directory, url):
        _answer(create_api(app.ports), sock, app.settings.http.bounds())


def _serve_health(app: App, sock: socket.socket) -> None:
    """The same for a process without the role serve, which has no other answers: so its address is not noted."""
    err().print(f"Its health: [bold]{_url(sock)}/readyz[/], /healthz, /metrics", soft_wrap=True)
    _answer(create_health_api(app.watch.own, app.registry), sock, app.settings.http.bounds())


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _answer(api: FastAPI, sock: socket.socket, bounds: Bounds) -> None:
    server = ApiServer(server_config(api, bounds))
    with contextlib.suppress(KeyboardInterrupt):
        # uvicorn ends on SIGTERM and then raises it again: without a handler that would end us before all is closed
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        server.run(sockets=[sock])


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
        raise Mistake(f"A crossdock already runs on {settings.directory}, at {url}: stop it, or give the demo another --data.")
    _empty(settings.directory)
    with listening(settings) as sock, contextlib.ExitStack() as stack:
        try:
            stage = Stage(settings, sock, seed, stack, servers=_servers(stack) if is_kafka else None)
        except (NoSandbox, NoServers) as error:
            raise Failed(str(error)) from None
        summary, invariants = _day(stage, seed, orders, garbage, rate)
        (_printed_json if is_json else _printed)(summary, invariants)
        if not all(invariant.holds for invariant in invariants):
            raise Failed("An invariant does not hold: see above.")
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
            raise Mistake(f"{directory} is not empty, and the demo starts on an empty log: give it another --data.")
        err().print(f"The earlier demonstration in {directory} is removed.", soft_wrap=True)
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / DEMO_FILE).write_text("This log was made by crossdock demo, which may remove it.\n")


def _day(stage: Stage, seed: int, orders: int, garbage: int, rate: float) -> tuple[Summary, list[Invariant]]:
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
            raise Failed(str(error)) from None


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


def _invite(settings: Settings, stage: Stage, summary: Summary) -> None:
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
