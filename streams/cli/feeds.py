"""Commands that bring something in, or compare with it: ingest, reconcile, replay."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.erp.columns import TABLES
from connectors.erp.extract import BadExtract
from streams.cli.options import AsJson, Data, settings_for, user
from streams.cli.output import CommandFailed, UserError, as_json, err, out, progress, table
from streams.cli.session import Local, Remote, Session, ask, beside, read, running, session
from streams.commands.file_ingest import BadInput, ingest_file, messages_of
from streams.queries.reconcile import Reconciliation, reconcile
from streams.queries.table_views import TableTypes
from streams.runtime.app import App, all_flows
from streams.runtime.open_log import opened_log
from streams.settings.settings import Settings

_CHUNK_BYTES = 4_000_000
_CHUNK_MESSAGES = 20_000


def ingest(
    file: Annotated[Path, typer.Argument(help="JSON lines, a JSON array or a Kafka dump; gzip or not.")],
    source: Annotated[str, typer.Option("--source", "-s", help="erp, wms, crm-customers, channel, or a channel's name.")],
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Take in a file of a source's raw messages, and work them off. Doing it twice changes nothing.

    crossdock ingest records.jsonl.gz --source erp
    crossdock ingest warehouse.ndjson --source wms
    """
    settings = settings_for(data)
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    try:
        url = running(settings.directory)
        if url is None:
            topics = _write(settings, file, source)
        else:
            with contextlib.closing(Remote(url)) as remote:
                topics = _send(remote, file, source)
    except BadInput as error:
        raise UserError(f"{error}.") from None
    if is_json:
        as_json({"source": source, "records": topics.total(), "topics": dict(topics)})
        return
    rows = sorted(topics.items())
    out().print(table(f"{topics.total():,} messages from {file}", ("to", "messages"), rows, right=("messages",)))


def _write(settings: Settings, file: Path, source: str) -> Counter[str]:
    with opened_log(settings, may_create=True, directory=beside(settings)) as log:
        bar, task = progress(f"reading {file.name}", file.stat().st_size)
        with bar:
            report = ingest_file(log, file, source, lambda done, total: bar.update(task, completed=done), settings.channels)
        if settings.is_kafka:
            err().print(f"They are on {settings.log}: what runs there works them off.", soft_wrap=True)
            return report.topics
        app = App(settings, log)
        app.start()
        try:
            settle(app)
        finally:
            app.stop()
    return report.topics


def settle(app: App, *, is_quiet: bool = False) -> None:
    """Work off everything that waits, with a progress bar. Raises `CommandFailed` if a worker halts, or a source is paused."""
    bar, task = progress("working off", None, is_quiet=is_quiet)
    most = 0
    with bar:
        while not app.settle(0.25):
            waiting = app.watch.waiting()
            most = max(most, waiting)
            bar.update(task, total=most, completed=most - waiting)
    halted = app.halted()
    if halted:
        raise CommandFailed("; ".join(f"{name} has halted: {why}" for name, why in halted.items()))
    if paused := app.watch.paused():
        raise CommandFailed(
            "; ".join(f"{row.source} is read no further: {row.reason}. crossdock resume {row.source}" for row in paused)
        )


def _send(remote: Remote, file: Path, source: str) -> Counter[str]:
    err().print(f"crossdock at {remote.url} takes it in.")
    counts: Counter[str] = Counter()
    bar, task = progress(f"sending {file.name}", None)
    with bar:
        chunk: list[bytes] = []
        size = 0
        for _, message in messages_of(file, source):
            if chunk and (size + len(message) > _CHUNK_BYTES or len(chunk) >= _CHUNK_MESSAGES):
                counts[source] += _post(remote, source, chunk)
                bar.update(task, advance=len(chunk))
                chunk, size = [], 0
            chunk.append(b" ".join(message.split(b"\n")))
            size += len(message) + 1
        if chunk:
            counts[source] += _post(remote, source, chunk)
    return counts


def _post(remote: Session, source: str, chunk: list[bytes]) -> int:
    headers = {"Content-Type": "application/x-ndjson"}
    response = ask(remote, "POST", f"/v1/ingest/{source}", content=b"\n".join(chunk), headers=headers)
    return int(read(response)["count"])


def reconcile_with(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An extract of the ERP: <table>.json files.")],
    only: Annotated[str | None, typer.Option(help="Compare these tables alone, like item,customer.", show_default=False)] = None,
    without: Annotated[
        str | None,
        typer.Option(help="These tables and columns need not be compared, like invoice,item.grade.", show_default=False),
    ] = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Compare our tables with an extract of the ERP, row by row, value by value. 0 only if all was compared and nothing differs.

    crossdock reconcile extract/ --json
    crossdock reconcile extract/ --only item,inventory_balance
    """
    settings = settings_for(data)
    if not directory.is_dir():
        raise UserError(f"There is no directory {directory}.")
    tables, left_out = _named(only), _named(without)
    if strange := [name for name in tables if name not in TABLES]:
        raise UserError(f"There is no table {strange[0]!r} of the ERP. There are: {', '.join(TABLES)}.")
    with session(settings) as source:
        rows = source.app.tables.scan if isinstance(source, Local) else RemoteTables(source, settings).scan
        policy = settings.to_policy()
        sites = {key[0] for key, _ in rows("promise", "sites") if policy.site(key[0]).physical_owner == "erp"}
        try:
            found = reconcile(rows, directory, sites, only=tables, without=left_out)
        except BadExtract as error:
            raise UserError(f"{error}.") from None
    if is_json:
        told = {"verdict": found.verdict, "is_equal": found.is_equal, "difference_count": found.difference_count}
        as_json(told | asdict(found))
    else:
        _show_reconciliation(found)
    said = [f"{found.difference_count:,} differences."] if found.difference_count else []
    if found.not_compared:
        said.append(f"{len(found.not_compared)} tables or columns could not be compared, so nothing is known of them: see above.")
    if said:
        raise CommandFailed(" ".join(said))


def _named(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


class RemoteTables:
    """Typed rows of a running crossdock's tables, over its API."""

    def __init__(self, source: Session, settings: Settings) -> None:
        self._source = source
        self._types = TableTypes(all_flows(settings))

    def scan(self, flow: str, name: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """All rows of a table, partition after partition."""
        after: str | None = None
        while True:
            wanted = {"form": "packed", "limit": 1000} | ({} if after is None else {"after": after})
            page = read(ask(self._source, "GET", f"/v1/tables/{flow}.{name}", params=wanted))
            for row in page["rows"]:
                yield self._types.unpacked(f"{flow}.{name}", row["key"], row["row"])
            after = page["next"]
            if after is None:
                return


def _show_reconciliation(found: Reconciliation) -> None:
    console = out()
    columns = ("table", "rows theirs", "rows ours", "compared", "fields", "missing", "unexpected", "differences")
    rows = [
        (t.table, t.rows_theirs, t.rows_ours, t.rows_compared, t.fields_compared, t.missing, t.unexpected, t.differences)
        for t in found.tables
    ]
    console.print(table("Compared with the extract", columns, rows, right=columns[1:]))
    if found.differences:
        shown = [(d.table, d.key, d.column, d.ours, d.theirs) for d in found.differences[:50]]
        console.print(table("Differences (the first 50)", ("table", "key", "column", "ours", "theirs"), shown))
    for left_out in found.not_compared:
        console.print(f"Not compared: {left_out}", markup=False, soft_wrap=True)


def replay(
    dead_letter: Annotated[str | None, typer.Argument(metavar="DEAD_LETTER_ID", help="Or an exception's fingerprint.")] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every dead letter that was not fed again yet.")] = False,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Feed quarantined messages again, once what was wrong has been corrected. Each dead letter is fed once.

    crossdock replay raw.wms/0/4711
    crossdock replay --all
    """
    if (dead_letter is None) == (not is_all):
        raise UserError(
            "Say which dead letter, or --all (not both). crossdock exceptions --state all shows what is in quarantine."
        )
    with session(settings_for(data)) as source:
        done: dict[str, Any] = read(
            ask(source, "POST", f"/v1/exceptions/{dead_letter or 'all'}/replay", params={"person": user()})
        )
        if isinstance(source, Local) and not source.app.settings.is_kafka:  # there, what runs works it off
            source.app.start()
            settle(source.app)
    if is_json:
        as_json(done)
    else:
        out().print("\n".join(["Fed again:", *done["replayed"]]) if done["replayed"] else "There was nothing to feed again.")
        if gone := done.get("gone"):
            out().print("No longer in the log, and too large to be kept: ask their source for", ", ".join(gone), soft_wrap=True)
        if done.get("is_more"):
            out().print("There are more: crossdock replay --all again.")
