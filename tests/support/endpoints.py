"""A small endpoint over HTTP for tests: it keeps idempotency keys, and can be down, slow, or lose its replies."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Request:
    """A call as it came."""

    method: str
    path: str
    key: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is answered: `body` as JSON, or as it is if it is bytes."""

    status: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """Serves on a free port until `close`. `effects`: the requests carried out, each key once; `calls`: all that came."""

    def __init__(self, respond: Callable[[Request], Answer] = lambda request: Answer(200)) -> None:
        self.respond = respond
        self.is_down = False
        self.slow_s = 0.0
        self.lose: Callable[[Request], bool] = lambda request: False
        self.calls: list[Request] = []
        self.effects: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> Answer | None:
        """The answer; none if it is lost on its way."""
        with self._lock:
            self.calls.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._carry_out(request)
        finally:
            with self._lock:
                self.at_once -= 1

    def _carry_out(self, request: Request) -> Answer | None:
        if self.is_down:
            return Answer(503, {"reason": "down for maintenance"})
        time.sleep(self.slow_s)
        with self._lock:
            if request.key not in self._answers:
                self._answers[request.key] = self.respond(request)
                self.effects.append(request)
        return None if self.lose(request) else self._answers[request.key]


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = endpoint.answer(Request(self.command, self.path, unquote(headers.get("idempotency-key", "")), body, headers))
            if answer is None:
                self.close_connection = True
                return
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            with contextlib.suppress(ConnectionError):  # whoever called may have given up
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        do_POST = do_PUT = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
