"""`python -m infra.sandbox`: the systems as a process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from infra.sandbox.erp import ErpOptions
from infra.sandbox.marketplace import MarketplaceOptions
from infra.sandbox.master import BadMasterExtract, read_master
from infra.sandbox.outbox import Write
from infra.sandbox.service import CRM_SECRET, PORTAL_SECRET, CutOff, Options, create
from infra.sandbox.store import FilesInUse
from infra.sandbox.values import RequestRefused, milli
from infra.sandbox.wms import WmsOptions

READY_FILE = "sandbox.json"
cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _share(says: str) -> Any:
    return typer.Option(min=0, max=1, help=says)


def _seconds(says: str) -> Any:
    return typer.Option(min=0, max=3600, help=says)


@cli.command()
def main(
    extract: Annotated[Path, typer.Option(help="The ERP's tables, <table>.json: items, customers, sites, prices.")],
    data: Annotated[Path, typer.Option(help="Where the systems keep what they know; made if it is not there.")],
    listen: Annotated[str, typer.Option(help="Address and port; port 0 takes a free one.")] = "127.0.0.1:8090",
    crossdock: Annotated[str | None, typer.Option(help="Where crossdock listens; may be told later, POST /control.")] = None,
    seed: Annotated[int, typer.Option(help="What happens by chance follows from it.")] = 1,
    stock: Annotated[str, typer.Option(help="What each place of the warehouse holds at the start.")] = "500",
    confirm_s: Annotated[float, _seconds("ERP: until an order shows in the change feed.")] = 1.0,
    own_changes: Annotated[float, _share("ERP: share of orders its own people change or cancel.")] = 0.02,
    step_s: Annotated[float, _seconds("WMS: to the floor, to the pick, to the truck, each.")] = 1.0,
    short: Annotated[float, _share("WMS: share of picks that find too little.")] = 0.03,
    substituted: Annotated[float, _share("WMS: share of picks of something else, where allowed.")] = 0.05,
    split: Annotated[float, _share("WMS: share of picks done in two goes.")] = 0.05,
    returned: Annotated[float, _share("WMS: share of shipments of which a part comes back.")] = 0.02,
    resent: Annotated[float, _share("Marketplace: share of orders that come again on a later page.")] = 0.1,
    crm_secret: Annotated[str, typer.Option(help="CRM: the key its notices are signed with.")] = CRM_SECRET,
    portal_secret: Annotated[str, typer.Option(help="Portal: likewise.")] = PORTAL_SECRET,
    erp_database: Annotated[
        str | None, typer.Option(help="ERP: write its rows to this PostgreSQL (infra/erp) instead of telling crossdock of them.")
    ] = None,
    is_attached: Annotated[
        bool, typer.Option("--attached", help="End when standard input does: with whoever started it.")
    ] = False,
) -> None:
    """A small ERP, WMS, CRM, portal and marketplace over HTTP, under /erp /wms /crm /portal /marketplace of one port.

    python -m infra.sandbox --extract connectors/erp/sample/final --data sandbox --crossdock http://127.0.0.1:8080

    curl -s localhost:8090/wms/control -d '{"down": true}'      # and slow_ms, lose_reply, duplicate, shuffle

    curl -s localhost:8090/erp/state

    The address is in DATA/sandbox.json while it runs. What the systems know is in DATA, and survives kill -9.
    """
    if is_attached:
        threading.Thread(target=_end_with_input, name="attached", daemon=True).start()
    data.mkdir(parents=True, exist_ok=True)
    step_ms = int(1000 * step_s)
    with _socket(listen) as sock:
        try:
            options = Options(
                seed=seed,
                crossdock=crossdock,
                crm_secret=crm_secret,
                portal_secret=portal_secret,
                erp_rows=_rows_of(erp_database),
                erp=ErpOptions(confirm_ms=int(1000 * confirm_s), own_changes=own_changes),
                wms=WmsOptions(milli(stock), step_ms, step_ms, step_ms, 20 * step_ms, short, substituted, split, returned),
                marketplace=MarketplaceOptions(resent=resent),
            )
            server = uvicorn.Server(uvicorn.Config(create(data, read_master(extract), options), log_level="error"))
        except (BadMasterExtract, FilesInUse, RequestRefused) as mistake:
            raise typer.BadParameter(str(mistake)) from None
        _serve(server, sock, data / READY_FILE)


def _rows_of(erp_database: str | None) -> Write | None:
    if erp_database is None:
        return None
    from infra.sandbox.tables import ErpTables  # noqa: PLC0415 - its driver is for those who have a database only

    return ErpTables(erp_database).write


def _end_with_input() -> None:
    """A parent holds the other end of a pipe and never writes: however it ends, even by kill -9, the pipe is closed then."""
    while os.read(0, 1024):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _socket(listen: str) -> Iterator[socket.socket]:
    """The socket to serve on."""
    host, _, port = listen.rpartition(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, int(port)))
            sock.listen(512)
        except (OSError, ValueError, OverflowError) as error:
            raise typer.BadParameter(f"{listen} cannot be used ({error}); --listen 127.0.0.1:0 takes a free port.") from None
        yield sock


def _serve(server: uvicorn.Server, sock: socket.socket, note: Path) -> None:
    host, port = sock.getsockname()
    url = f"http://{host}:{port}"
    logging.getLogger("uvicorn.error").addFilter(lambda record: not (record.exc_info and record.exc_info[0] is CutOff))
    written = note.with_suffix(".new")
    written.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    written.replace(note)
    typer.echo(f"sandbox listens on {url}: /erp /wms /crm /portal /marketplace. Interrupt it with Ctrl-C.", err=True)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            # uvicorn ends on SIGTERM and then raises it again: without a handler that would end us before all is closed
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            server.run(sockets=[sock])
    finally:
        note.unlink(missing_ok=True)


if __name__ == "__main__":
    cli(prog_name="python -m infra.sandbox")
