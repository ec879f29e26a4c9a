"""The demonstration's stage: a sandbox, an app over an empty log that runs orders through it, its API and its live page."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from itertools import count

import httpx

from connectors.api.app import create_api
from connectors.api.http_server import server_config
from infra.demo.channels import wishes
from infra.demo.controls import DemoFaultControls
from infra.demo.day import DemoDay, Step
from infra.demo.doors import ChannelEntry
from infra.demo.sandbox import SandboxClient, running
from infra.demo.servers import Servers
from infra.demo.world import dice
from streams.engine.process import calm_collector
from streams.runtime.api_server import SERVER_FILE, ApiServer
from streams.runtime.app import App, now_ms
from streams.runtime.open_log import opened_log
from streams.settings.settings import FILE, Settings, load

SECRETS = {"web": "demo-web-secret", "crm": "demo-crm-secret", "portal": "demo-portal-secret"}
GO_ON_RATE = 2.0  # orders a second once the day is over: somebody may be looking
SYSTEMS = ("--step-s", "0.5", "--stock", "40")
FEED_FAULTS = {"duplicate": 0.05, "shuffle": 0.05}
"""The share of the ERP's and the WMS's own messages that come twice, and out of order."""


class DemoAssembly:
    """Everything a demonstration needs, running until `stack` is closed. `systems`: options of the sandbox.

    With `servers` the log is on their broker, and all the ERP's rows come from their database.
    """

    def __init__(
        self,
        settings: Settings,
        sock: socket.socket,
        seed: int,
        stack: contextlib.ExitStack,
        systems: Sequence[str] = SYSTEMS,
        servers: Servers | None = None,
    ) -> None:
        self._seed = seed
        self.servers = servers
        self.url = _url_of(sock)
        directory = settings.directory
        extract = stack.enter_context(as_file(files("connectors.erp") / "sample" / "final"))
        if servers is not None:
            servers.fill(extract)
            systems = (*systems, "--erp-database", servers.erp)
        secrets = ("--crm-secret", SECRETS["crm"], "--portal-secret", SECRETS["portal"])
        self.sandbox: SandboxClient = stack.enter_context(running(directory / "sandbox", seed, extract, *systems, *secrets))
        for name in ("erp", "wms"):
            self.sandbox.control(name, **FEED_FAULTS)
        (directory / FILE).write_text(_settings_text(settings, self.sandbox.url))
        log_url = f"embedded:{directory}" if servers is None else f"kafka://{servers.broker}"
        settings = load(data=settings.data, log=log_url, api=settings.api)
        log = stack.enter_context(opened_log(settings, may_create=True))
        self.app = App(settings, log)
        self._client = stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        folder = directory / "drop"
        folder.mkdir(parents=True, exist_ok=True)
        self.doors = ChannelEntry(self._client, self.url, f"{self.sandbox.url}/marketplace", SECRETS["web"].encode(), folder)
        calm_collector()
        self.app.start()
        stack.callback(self.app.stop)
        self._day: DemoDay | None = None
        self.app.offer(DemoFaultControls(self.app, self.sandbox, lambda: self.day().plan(seed, 1, 0), now_ms))
        stack.enter_context(_served(self.app, sock, self.url))

    def day(self, step: Step = lambda *_: None) -> DemoDay:
        """The day, made once; `step` is told how far it is."""
        if self._day is None:
            self._day = DemoDay(self.app, self.sandbox, self.doors, self.url, now_ms, step, self.servers)
        return self._day

    def go_on(self, rate: float = GO_ON_RATE) -> None:
        """Go on ordering until interrupted (by `KeyboardInterrupt`)."""
        with contextlib.suppress(KeyboardInterrupt):
            for seed in count(self._seed + 1):
                plan = self.day().plan(seed, 1_000, 0)
                rng = dice(plan, "delivery")
                for wish in wishes(plan, now_ms):
                    with contextlib.suppress(httpx.HTTPError):
                        self.doors.bring(wish)
                        if rng.random() < plan.duplicate_rate:
                            self.doors.again(wish)
                    time.sleep(1 / rate)


def _settings_text(settings: Settings, sandbox: str) -> str:
    """What the data directory's own file says: the sandbox's systems to deliver to, and every channel's door open."""
    folder = json.dumps(str(settings.directory / "drop"))
    doors = f'''
[channel.web]
webhook_secret = "{SECRETS["web"]}"

[poll.marketplace]
channel = "marketplace"
url = "{sandbox}/marketplace"
every_s = 0.5

[drop.edi]
channel = "edi"
directory = {folder}
every_s = 0.5
complete = "rename"
'''
    endpoints = (
        ("erp", "erp", "erp", 32),
        ("wms", "wms", "wms", 32),
        ("crm", "notify", "crm/notices", 64),
        ("portal", "notify", "portal/notices", 64),
    )
    for name, role, path, window in endpoints:
        secret = f'secret = "{SECRETS[name]}"\n' if role == "notify" else ""
        doors += f'\n[endpoint.{name}]\nrole = "{role}"\nurl = "{sandbox}/{path}"\nwindow = {window}\n{secret}'
    return f"# Made by crossdock demo: the systems of its sandbox.\n{doors}"


def _url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _served(app: App, sock: socket.socket, url: str) -> Iterator[None]:
    """The API in a thread; its address is in the data directory meanwhile, for the other commands."""
    note = app.settings.directory / SERVER_FILE
    server = ApiServer(server_config(create_api(app.ports), app.settings.http.bounds()))
    stop = threading.Event()
    thread = app.keeper.thread("api", lambda: server.run(sockets=[sock]), stop, may_end=True)
    thread.start()
    try:
        note.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        yield
    finally:
        stop.set()
        server.should_exit = True
        thread.join()
        note.unlink(missing_ok=True)
