"""The HTTP server of a process that has the live page."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn


class ApiServer(uvicorn.Server):
    """A server of `create_api`'s application that ends its event streams when it is to end: it would wait for them otherwise."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        api: Any = self.config.app
        if hasattr(api.state, "end_streams"):
            api.state.end_streams()
        await super().shutdown(sockets)
