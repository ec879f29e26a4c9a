"""A loopback proxy in front of the brokers: it forwards, stands still, forwards one way only, or cuts every connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

_CHUNK = 65_536


class Proxy:
    """Listens at each broker's advertised port and forwards to the port the broker listens on. A thread of its own."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        self._pairs = pairs
        self._loop = asyncio.new_event_loop()
        self._flows: dict[str, asyncio.Event] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses through the proxy."""
        return ",".join(f"127.0.0.1:{advertised}" for advertised, _ in self._pairs)

    def stall(self, *directions: str) -> None:
        """Nothing passes in these directions ("requests", "answers"; none named: both) until `resume`."""
        for direction in directions or ("requests", "answers"):
            self._loop.call_soon_threadsafe(self._flows[direction].clear)

    def resume(self) -> None:
        """Everything passes again, what was held back first."""
        for flow in self._flows.values():
            self._loop.call_soon_threadsafe(flow.set)

    def cut(self) -> None:
        """Every connection is closed."""
        self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        """Stop listening and forwarding."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        for direction in ("requests", "answers"):
            self._flows[direction] = asyncio.Event()
            self._flows[direction].set()
        for advertised, listening in self._pairs:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = listening) -> None:
                await self._serve(reader, writer, port)

            self._servers.append(await asyncio.start_server(serve, "127.0.0.1", advertised))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        broker = None
        try:
            back, broker = await asyncio.open_connection("127.0.0.1", port)
            ways = [
                asyncio.ensure_future(self._forward(reader, broker, "requests")),
                asyncio.ensure_future(self._forward(back, writer, "answers")),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the broker is down: the caller is told by the closed connection
        except asyncio.CancelledError:
            pass  # cut
        finally:
            self._open.discard(task)
            for side in (writer, broker):
                if side is not None:
                    side.transport.abort()

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: str) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._flows[direction].wait()
                target.write(data)
                await target.drain()

    def _cut(self) -> None:
        for task in self._open:
            task.cancel()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._cut()
        await asyncio.gather(*self._open, return_exceptions=True)
