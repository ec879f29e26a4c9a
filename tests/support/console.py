"""The live page over fake ports, served: for what a real app shows only when something is wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import uvicorn

from connectors.api.app import create_api
from connectors.api.console.ports import Console
from streams.runtime.api_server import ApiServer
from tests.support.api_fakes import Fake, ports
from tests.support.console_fakes import FakeDemo, FakeLive


@contextlib.contextmanager
def served(live: FakeLive, demo: FakeDemo, fake: Fake) -> Iterator[str]:
    """The address it listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        api = create_api(replace(ports(fake), console=Console(live, demo)))
        server = ApiServer(uvicorn.Config(api, log_level="warning", access_log=False))
        thread = threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
