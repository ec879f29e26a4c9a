"""The HTTP server's bounds: how many connections, and how long a client may take to say and to hear what it wants.

A client that stays silent halfway costs one connection for a while, and nothing else: when all are taken, the one that has kept
us waiting longest gives way to the one that comes.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors.api.http import HEAD_LIMIT
from connectors.api.problems import problem

KEEP_ALIVE_S = 5
_SPARE_FILES = 256  # of the log, the tables and the folders
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`connections`: at once. `head_s`, `body_s`: for a request's head and body to come. `write_s`: for a client to read on."""

    connections: int = 256
    head_s: float = 10.0
    body_s: float = 60.0
    write_s: float = 30.0


def server_config(api: Any, bounds: ConnectionLimits) -> uvicorn.Config:
    """How uvicorn serves an application within bounds."""
    return uvicorn.Config(
        api,
        http=bounded_protocol(_that_fit(bounds)),
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=HEAD_LIMIT,
    )


def _that_fit(bounds: ConnectionLimits) -> ConnectionLimits:
    """The bounds, with no more connections than there are files a process may have open. Raises the soft limit if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = bounds.connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return bounds
    fitting = max(8, soft // 2)
    _log.warning("fewer connections than set: the process may have too few files open", connections=fitting, files=soft)
    return ConnectionLimits(min(bounds.connections, fitting), bounds.head_s, bounds.body_s, bounds.write_s)


def bounded_protocol(bounds: ConnectionLimits) -> type[H11Protocol]:
    """Uvicorn's protocol within bounds. Its connections share one queue of those whose clients keep us waiting."""
    waiting: OrderedDict[H11Protocol, None] = OrderedDict()

    class BoundedConnection(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None
        _writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Take it, or make another give way."""
            super().connection_made(transport)
            if len(self.connections) > bounds.connections and not _one_gave_way(self):
                self._refuse(503, f"All {bounds.connections} connections are in use. Try again in a moment.")
                return
            self._wait(bounds.head_s)

        def connection_lost(self, exc: Exception | None) -> None:
            """It is over."""
            self._served()
            if self._writing is not None:
                self._writing.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Some of a request."""
            if self.transport.is_closing():
                return
            super().data_received(data)
            their = self.conn.their_state
            if their in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                self._served()
            elif self._deadline is None:
                self._wait(bounds.body_s if their is h11.SEND_BODY else bounds.head_s)
            elif their is h11.SEND_BODY and not self._is_body:
                self._served()
                self._wait(bounds.body_s)
            self._is_body = their is h11.SEND_BODY

        _is_body = False

        def on_response_complete(self) -> None:
            """An answer went out; another request may come."""
            super().on_response_complete()
            if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
                waiting[self] = None  # it may give way; uvicorn closes it by itself soon

        def pause_writing(self) -> None:
            """The client does not read on."""
            super().pause_writing()
            self._writing = self.loop.call_later(bounds.write_s, self.transport.abort)

        def resume_writing(self) -> None:
            """It does."""
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """What came is not HTTP, or its head is too long."""
            self._refuse(400, f"{msg} Its head may have at most {HEAD_LIMIT:,} bytes.")

        def _wait(self, seconds: float) -> None:
            """From now on the client keeps us waiting."""
            waiting[self] = None
            self._deadline = self.loop.call_later(seconds, self._too_slow, seconds)

        def _served(self) -> None:
            """The client has said all it had to say."""
            waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self, seconds: float) -> None:
            self._deadline = None
            self._refuse(408, f"The request did not come whole in {seconds:g} s. Send it again, without pauses.")

        def _refuse(self, status: int, detail: str) -> None:
            """Say why, if no answer has begun, and close."""
            self._served()
            if self.transport.is_closing():
                return
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # whoever reads its body is told so
                self.cycle.message_event.set()
            answer = problem(status, detail, {"Connection": "close", "Retry-After": "1"})
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                try:
                    for event in (
                        h11.Response(status_code=status, headers=answer.raw_headers),
                        h11.Data(data=bytes(answer.body)),
                        h11.EndOfMessage(),
                    ):
                        self.transport.write(self.conn.send(event) or b"")
                except h11.LocalProtocolError:
                    pass  # it is past answering
            self.transport.close()

    def _one_gave_way(newest: H11Protocol) -> bool:
        oldest = next((each for each in waiting if each is not newest), None)
        if oldest is None:
            return False
        waiting.pop(oldest)
        oldest.transport.abort()
        return True

    return BoundedConnection
