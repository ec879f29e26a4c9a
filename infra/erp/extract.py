"""`python -m infra.erp.extract`: writes what the ERP's tables hold, for `crossdock reconcile`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg import sql

from infra.erp.database import TABLES, Connection, NoDatabase, connected

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def extract(connection: Connection, directory: Path) -> int:
    """Write each table to `<table>.json`, all as of one moment. Returns how many rows there are.

    Numbers are text, instants UTC, timestamps without zone as the database has them, days ISO.
    """
    directory.mkdir(parents=True, exist_ok=True)
    count = 0
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for table in TABLES:
            cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, map(_plain, row), strict=True)) for row in cursor]
            (directory / f"{table}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
            count += len(rows)
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        text = (value if value.tzinfo is None else value.astimezone(UTC)).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


@cli.command()
def main(
    url: Annotated[str, typer.Argument(help="The database, as infra/erp/start.sh prints it.")],
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")],
) -> None:
    """Write the ERP's tables as of now, one <table>.json each."""
    try:
        with connected(url) as connection:
            typer.echo(f"{extract(connection, directory)} rows in {len(TABLES)} tables")
    except NoDatabase as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    cli()
