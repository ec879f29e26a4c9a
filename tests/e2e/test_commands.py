"""Commands beside a running crossdock: they go through its API, and say the same."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.cli.output import CommandFailed, UserError
from tests.support.app import ITEM, Server, count, master

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """100 pieces of one item."""
    server = Server(tmp_path_factory.mktemp("commands") / "data")
    server.send("erp", master())
    server.send("wms", [count("100", 1)])
    server.wait_for_stock(100)
    yield server
    if server.process.poll() is None:
        server.kill()


def run(server: Server, *arguments: str) -> Result:
    return RUNNER.invoke(app, [*arguments, "--data", str(server.directory)])


def answered(server: Server, *arguments: str) -> Any:
    result = run(server, *arguments, "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    return json.loads(result.stdout)


def test_what_is_read_comes_from_the_server(server: Server) -> None:
    assert answered(server, "atp", ITEM)["promise"] == 100
    assert answered(server, "explain", ITEM)["adds_up"] is True
    assert answered(server, "table", "promise.items")["rows"][0]["key"] == ITEM
    assert answered(server, "exceptions") == {"exceptions": []}
    directory = next(c for c in answered(server, "doctor")["checks"] if c["check"] == "directory")
    assert server.url in directory["says"]


def test_a_file_goes_through_the_server(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "wms.json"
    file.write_bytes(b"[" + count("90", 2, "2026-01-03T09:00:00Z") + b",\n" + count("80", 3, "2026-01-04T09:00:00Z") + b"]")
    assert answered(server, "ingest", str(file), "--source", "wms")["records"] == 2
    server.wait_for_stock(80)


def test_reconcile_reads_the_servers_tables(server: Server, tmp_path: Path) -> None:
    rows = [{"site_code": "DC1", "name": "One", "timezone": "America/New_York"}]
    (tmp_path / "site.json").write_text(json.dumps(rows))
    assert answered(server, "reconcile", str(tmp_path), "--only", "site")["is_equal"] is True
    (tmp_path / "site.json").write_text(json.dumps([rows[0] | {"name": "Two"}]))
    assert isinstance(run(server, "reconcile", str(tmp_path)).exception, CommandFailed)


def test_what_needs_the_directory_itself_says_who_holds_it(server: Server) -> None:
    for command in (("verify",), ("run",), ("demo", "--once")):
        error = run(server, *command).exception
        assert isinstance(error, UserError)
        assert server.url in str(error)


def test_it_ends_gracefully_on_sigterm_and_the_directory_is_free(server: Server) -> None:
    assert server.stop(signal.SIGTERM) == 0
    assert not (server.directory / "server.json").exists()
    assert answered(server, "verify")["is_same"] is True


def test_the_demonstration_holds_its_invariants(tmp_path: Path) -> None:
    result = RUNNER.invoke(
        app, ["demo", "--once", "--json", "--orders", "60", "--data", str(tmp_path / "demo"), "--api", "127.0.0.1:0"]
    )
    assert result.exit_code == 0, result.output + str(result.exception)
    found = json.loads(result.stdout)
    assert all(invariant["holds"] and invariant["checked"] for invariant in found["invariants"])
    assert found["messages"]["erp capture"] == 17_226
    assert found["obligations_open"] == 0 and min(found["obligations"].values()) > 0
    assert found["orders_by_status"]["invoiced"] > 10
    assert found["duplicates"] > 1_000
    assert sum(found["dead_letters"].values()) == 12
