"""Commands for what stands: skip, resume, settle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.options import AsJson, Data, settings_for, user
from streams.cli.output import as_json, out
from streams.cli.session import ask, read, session

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why: it is kept with it for good.")]
Person = Annotated[str | None, typer.Option("--person", help="Who decides it (default: who runs the command).")]


def skip(
    record: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET", help="The record at which a partition stands.")],
    reason: Reason,
    person: Person = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Set aside a record at which a partition stands. It becomes a dead letter (crossdock replay), and the partition goes on.

    crossdock skip promise.inbox.v1/2/4711 --reason "corrected by hand at the site"
    """
    body = {"record": record, "reason": reason, "person": person or user()}
    done, is_running = _intervene("skip", body, data)
    if is_json:
        as_json(done)
        return
    when = "goes on" if is_running else "goes on when crossdock runs"
    out().print(f"{record} is set aside; its partition {when}.", markup=False, soft_wrap=True)


def resume(
    source: Annotated[str, typer.Argument(help="What is paused: erp, wms, crm-customers, a channel, or flow.<name>.")],
    reason: Reason = "its cause is corrected",
    person: Person = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Have a source read on that was paused because too much of it was refused. Nothing of it was lost meanwhile.

    crossdock resume wms --reason "the units are right now"
    """
    body = {"source": source, "reason": reason, "person": person or user()}
    done, is_running = _intervene("resume", body, data)
    if is_json:
        as_json(done)
        return
    when = "is read on" if is_running else "is read on when crossdock runs"
    out().print(f"{done['source']} {when}.", markup=False, soft_wrap=True)


def settle(
    table: Annotated[str, typer.Argument(help="A table of the ERP's, as it is called there: item_price.")],
    reason: Reason,
    person: Person = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Say that the ERP's new snapshot of a table is over: rows it has not read are gone. Needed where nothing changes any more.

    crossdock settle item_price --reason "the connector streams since noon"
    """
    body = {"table": table, "reason": reason, "person": person or user()}
    done, is_running = _intervene("settle", body, data)
    if is_json:
        as_json(done)
        return
    when = "are gone" if is_running else "are gone when crossdock runs"
    said = f"Rows of {table} that the snapshot at {done['history']} has not read {when}."
    out().print(said, markup=False, soft_wrap=True)


def _intervene(what: str, body: dict[str, str], data: Path | None) -> tuple[dict[str, Any], bool]:
    """The answer, and whether it comes of a crossdock that runs: else what was asked is done once one does."""
    with session(settings_for(data)) as source:
        done: dict[str, Any] = read(ask(source, "POST", f"/v1/operations/{what}", json=body))
        return done, source.is_remote
