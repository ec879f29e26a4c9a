"""The HTTP server within its bounds: clients that stay silent halfway, crowds, uploads that are broken off."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from connectors.api.app import create_api
from connectors.api.console.ports import Console
from connectors.api.http_server import ConnectionLimits, server_config
from connectors.api.ports import Ports
from schemas.inventory import LedgerEntry
from streams.runtime.api_server import ApiServer, bound
from tests.support.api_fakes import Fake, entry, ports
from tests.support.console_fakes import FakeLive

HEAD = b"GET /v1/atp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


@contextmanager
def served(made: Ports, bounds: ConnectionLimits) -> Iterator[int]:
    """The API, listening; its port."""
    with bound("127.0.0.1", 0) as sock:
        server = ApiServer(server_config(create_api(made), bounds))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            until = time.monotonic() + 20
            while not server.started:
                assert time.monotonic() < until
                time.sleep(0.01)
            yield int(sock.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def get(port: int, path: str = "/healthz") -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False)


def said(sock: socket.socket) -> str:
    """All the server says until it closes."""
    sock.settimeout(10)
    found = b""
    try:
        while part := sock.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found.decode()


def test_four_hundred_half_open_requests_keep_nobody_out() -> None:
    """Whoever keeps us waiting longest gives way; health is answered at once."""
    with served(ports(Fake()), ConnectionLimits(connections=32, head_s=30, body_s=30)) as port, ExitStack() as stack:
        for n in range(400):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(BODY if n % 2 else HEAD[:20])
            if n % 50 == 0:
                began = time.monotonic()
                assert get(port).status_code == 200
                assert time.monotonic() - began < 2


@pytest.mark.parametrize("part", [b"", HEAD[:20], BODY, BODY[:-1]])
def test_a_request_that_does_not_come_whole_in_time_is_told_so_and_closed(part: bytes) -> None:
    """Whatever trickles in meanwhile."""
    with served(ports(Fake()), ConnectionLimits(head_s=0.4, body_s=0.4)) as port:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            began = time.monotonic()
            sock.sendall(part)
            while time.monotonic() - began < 0.3:
                sock.sendall(b"a" if part else b"")
                time.sleep(0.1)
            answer = said(sock)
        assert time.monotonic() - began < 5
        assert answer.startswith("HTTP/1.1 408")
        assert "application/problem+json" in answer
        assert get(port).status_code == 200


def test_a_connection_kept_alive_serves_one_request_after_another() -> None:
    with served(ports(Fake()), ConnectionLimits(head_s=0.5, body_s=0.5)) as port, httpx.Client(trust_env=False) as client:
        for _ in range(4):
            assert client.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            time.sleep(0.3)


def test_when_all_connections_are_at_work_the_next_one_is_told_so() -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    class Slow(Fake):
        def status_page(self, after: str | None, limit: int) -> list[Any]:
            entered.release()
            leave.wait(20)
            return []

    made = replace(ports(Slow()), most_requests=3)
    with served(made, ConnectionLimits(connections=8)) as port:
        threads = [threading.Thread(target=get, args=(port, "/v1/orders")) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert entered.acquire(timeout=20)
        answer = get(port, "/v1/orders")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "Try again" in answer.json()["detail"]
        assert get(port).status_code == 200
        leave.set()
        for thread in threads:
            thread.join()


def test_live_pages_are_bounded_and_the_rest_goes_on() -> None:
    made = replace(ports(Fake()), console=Console(FakeLive()), most_streams=3)
    with served(made, ConnectionLimits(connections=16)) as port, ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=10, trust_env=False))
        url = f"http://127.0.0.1:{port}/console/stream"
        answers = [stack.enter_context(client.stream("GET", url)) for _ in range(5)]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
        assert get(port, "/console/start").status_code == 200


def test_health_is_answered_while_many_ask_for_what_takes_long() -> None:
    """Sixty explanations of a long ledger: its sums are kept, and health has threads of its own."""

    class Long(Fake):
        reads = 0

        def ledger(self, item: str, before: int | None, limit: int) -> list[tuple[int, LedgerEntry]]:
            self.reads += 1
            time.sleep(0.002)  # a page of 1,000 takes longer than that to decode
            top = 20_000 if before is None else before
            return [(n, ENTRY) for n in range(max(0, top - limit), top)]

    fake = Long()
    with served(ports(fake), ConnectionLimits()) as port:
        threads = [threading.Thread(target=get, args=(port, "/v1/items/A%2F1/explain?limit=1")) for _ in range(60)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for _ in range(5):
            assert get(port).status_code == 200
        assert time.monotonic() - began < 5
        for thread in threads:
            thread.join()
    assert fake.reads < 60 * 2 + 3 * 21  # each its own page and the newest few; the whole ledger only for those who came first


ENTRY = entry(0, 1)


def test_uploads_that_are_broken_off_leave_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), served(ports(Fake()), ConnectionLimits()) as port:
        for path in (b"/v1/orders", b"/v1/ingest/wms", b"/v1/webhooks/web", b"/v1/reservations", b"/registry/subjects/x"):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(BODY.replace(b"/v1/orders", path))
                time.sleep(0.1)
        assert get(port).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


def test_what_is_not_http_or_too_long_gets_a_problem() -> None:
    with served(ports(Fake()), ConnectionLimits()) as port:
        for nonsense in (b"\x16\x03\x01 hello\r\n\r\n", HEAD + b"X: " + b"a" * 70_000 + b"\r\nConnection: close\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(nonsense)
                answer = said(sock)
            assert answer[:12] in {"HTTP/1.1 400", "HTTP/1.1 431"}
            assert json.loads(answer.partition("\r\n\r\n")[2])["detail"]


def test_a_client_that_does_not_read_on_is_let_go() -> None:
    class Large(Fake):
        def refresh_metrics(self) -> None:
            return

        def rows_of(self, table: str, key: str | None, after: str | None, limit: int) -> list[tuple[str, Any]]:
            return [(str(n), "x" * 100_000) for n in range(limit)]

    with served(ports(Large()), ConnectionLimits(write_s=0.3)) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /v1/tables/promise.items?limit=500 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(2)
        assert len(said(sock)) < 500 * 100_000


def test_fewer_files_mean_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log and the folders keep what they need, even if the machine gives little."""
    import resource

    from connectors.api import http_server

    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 300))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: None)
    assert http_server._that_fit(ConnectionLimits(connections=256)).connections == 150
