"""The HTTP server of a process that has the live page."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket the API listens on; port 0 takes a free one. Raises `OSError` if the address is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(512)
        yield sock


SERVER_FILE = "server.json"  # in the data directory: where the API of a running crossdock is


@contextlib.contextmanager
def address_noted(directory: Path, url: str) -> Iterator[None]:
    """Have the data directory say where the API is, for the other commands."""
    note = directory / SERVER_FILE
    written = note.with_suffix(".new")
    written.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    written.replace(note)  # whoever looks sees all of it
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


class ApiServer(uvicorn.Server):
    """A server of `create_api`'s application that ends its event streams when it is to end: it would wait for them otherwise."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        api: Any = self.config.app
        if hasattr(api.state, "end_streams"):
            api.state.end_streams()
        await super().shutdown(sockets)
