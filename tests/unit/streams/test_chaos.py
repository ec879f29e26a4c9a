"""The parts of chaos that need no broker."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.chaos.cluster import SCRIPTS
from infra.chaos.faults import FAULTS, IN_A_CLUSTER, ON_A_DISK
from infra.chaos.mirror import Mirror
from infra.chaos.proxy import Proxy
from infra.chaos.run import chaos
from schemas import topics
from schemas.records import Record
from streams.engine.log import StoreId, TopicPartition

PATIENCE_S = 20.0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture
def proxied() -> Iterator[tuple[Proxy, int]]:
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        proxy = Proxy([(port, server.server_address[1])])
        yield proxy, port
        proxy.close()
        server.shutdown()


def test_a_stalled_proxy_loses_nothing(proxied: tuple[Proxy, int]) -> None:
    proxy, port = proxied
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as caller:
        caller.sendall(b"one")
        assert caller.recv(10) == b"one"
        for ways in ((), ("answers",), ("requests",)):
            proxy.stall(*ways)
            caller.sendall(b"two")
            caller.settimeout(0.3)
            with pytest.raises(TimeoutError):
                caller.recv(10)
            caller.settimeout(PATIENCE_S)
            proxy.resume()
            assert caller.recv(10) == b"two"


def test_a_cut_connection_is_closed_and_a_new_one_works(proxied: tuple[Proxy, int]) -> None:
    proxy, port = proxied
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as caller:
        caller.sendall(b"one")
        assert caller.recv(10) == b"one"
        proxy.cut()
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(10) == b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as caller:
        caller.sendall(b"two")
        assert caller.recv(10) == b"two"


def test_the_mirror_sees_what_was_cut_off_and_written_anew() -> None:
    mirror = Mirror([topics.LEDGER], [])
    name = topics.LEDGER.name
    for offset in (0, 1, 4):
        mirror.take(Record(name, 0, offset, 0, b"k", b"v"))
    assert mirror.bounds(TopicPartition(name, 0)) == (0, 3)
    assert mirror.wrong == []
    mirror.take(Record(name, 0, 3, 0, b"k", b"other"))
    assert mirror.wrong == [f"{name}/0/3 was read again: the partition has been cut and written anew"]


def test_the_mirror_keeps_rows_by_flow() -> None:
    mirror = Mirror([], ["g.changelog"])
    mirror.take(Record("g.changelog", 2, 0, 0, b"\x07promise\0row", b"1"))
    mirror.take(Record("g.changelog", 2, 1, 0, b"\x07promise\0gone", b"2"))
    mirror.take(Record("g.changelog", 2, 2, 0, b"\x07promise\0gone", None))
    assert list(mirror.store(StoreId("promise", 2)).range(b"", None)) == [(b"row", b"1")]


def test_an_unknown_fault_is_named() -> None:
    with pytest.raises(KeyError, match="no fault flood"):
        chaos(1, faults=["flood"])


def test_every_fault_says_what_it_is() -> None:
    assert FAULTS.keys() >= ON_A_DISK | IN_A_CLUSTER
    assert all(strike.__doc__ for strike in FAULTS.values())


def test_the_scripts_are_where_chaos_looks_for_them() -> None:
    assert {"start.sh", "stop.sh", "broker.sh"} <= {path.name for path in Path(SCRIPTS).iterdir()}
