"""The command that stays: run."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from fastapi import FastAPI

from connectors.api.app import create_api, create_health_api
from connectors.api.http_server import ConnectionLimits, server_config
from streams.cli.catchup import CatchUpWatcher
from streams.cli.options import Data, LogOption, roles_named, settings_with
from streams.cli.output import CommandFailed, UserError, err
from streams.cli.session import running
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import Unavailable
from streams.engine.process import calm_collector
from streams.flows.groups import ROLES, WORKING, Role
from streams.monitoring.process_reports import Reporter, Reports, hung
from streams.runtime.api_server import ApiServer, address_noted, bound
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.runtime.worker_processes import Supervisor, end_with_parent, worker_command, worker_directory
from streams.settings.settings import Settings

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
        raise UserError("--accept-loss is for the embedded log: on Kafka the brokers have all there is.")
    url = running(settings.directory) if child is None else None
    if url is not None:
        raise UserError(f"A crossdock already runs on {settings.directory}, at {url}.")
    calm_collector()
    directory = None if child is None else worker_directory(settings, child)
    try:
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(listening(settings)) if "serve" in wanted or api is not None else None
            RunningApp(settings, wanted, workers, sock, stack, directory, accepts_loss=accepts_loss).until_interrupted(
                is_child=child is not None
            )
    except Unavailable as error:
        raise CommandFailed(f"{error}: is the broker running?" if settings.is_kafka else f"{error}.") from None


def _roles(settings: Settings, roles: str | None, workers: int) -> frozenset[Role]:
    """The roles asked for. Raises `UserError`."""
    wanted = frozenset(roles_named(roles, ROLES))
    if not settings.is_kafka and (wanted != frozenset(ROLES) or workers > 1):
        raise UserError(
            "The embedded log is one process's, which does everything: --roles and --workers are for a log on Kafka, like "
            "--log kafka://broker:9092."
        )
    if workers > 1 and not wanted & WORKING:
        raise UserError(f"--workers {workers} is for the roles fold and translate, and --roles names neither.")
    return wanted


class RunningApp:
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


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The API's socket. Raises `UserError` if its address is taken."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(bound(settings.api_host, settings.api_port))
        except OSError as error:
            raise UserError(
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


def _answer(api: FastAPI, sock: socket.socket, bounds: ConnectionLimits) -> None:
    server = ApiServer(server_config(api, bounds))
    with contextlib.suppress(KeyboardInterrupt):
        # uvicorn ends on SIGTERM and then raises it again: without a handler that would end us before all is closed
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        server.run(sockets=[sock])
