"""`python -m infra.erp.seed`: fills the ERP's empty tables from an extract, which is how a capture ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg import sql

from infra.erp.database import TABLES, Connection, NoDatabase, connected

SEQUENCES = {
    "order_seq": ("sales_order", "order_no"),
    "po_seq": ("purchase_order", "po_no"),
    "invoice_seq": ("invoice", "invoice_no"),
}
cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class BadSeed(Exception):
    """The tables cannot be filled. The sentence says why."""


class NotEmpty(BadSeed):
    """There are rows already."""


def seed(connection: Connection, extract: Path) -> int:
    """Fill the tables from `<table>.json` files, in one transaction, and let numbers go on where they end. Rows written.

    Raises `BadSeed` if a file is not an extract, `NotEmpty` if a table has rows.
    """
    count = 0
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")  # instants of an extract name their zone, local times have none
        for table in TABLES:
            rows = _rows(extract / f"{table}.json")
            if cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))).fetchone() != (False,):
                raise NotEmpty(f"Table {table} is not empty: only an empty database is filled.")
            columns = list(rows[0]) if rows else []
            into = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with cursor.copy(into) as copy:
                for row in rows:
                    copy.write_row([row[column] for column in columns])
            count += len(rows)
        for sequence, (table, column) in SEQUENCES.items():
            highest = sql.SQL("SELECT setval({}, max(regexp_replace({}, '[^0-9]', '', 'g')::bigint)) FROM {}")
            cursor.execute(highest.format(sql.Literal(sequence), sql.Identifier(column), sql.Identifier(table)))
    return count


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSeed(f"{path} cannot be read: {error}. Give a directory with the ERP's tables, <table>.json.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadSeed(f"{path} is not an array of rows.")
    return rows


@cli.command()
def main(
    url: Annotated[str, typer.Argument(help="The database, as infra/erp/start.sh prints it.")],
    extract: Annotated[Path, typer.Argument(help="A directory with <table>.json of each table.")],
    is_once: Annotated[bool, typer.Option("--once", help="It is not a mistake if there are rows already.")] = False,
) -> None:
    """Fill the ERP's empty tables from an extract.

    python -m infra.erp.seed "$(infra/erp/start.sh data/erp)" connectors/erp/sample/final
    """
    try:
        with connected(url) as connection:
            typer.echo(f"{seed(connection, extract)} rows in {len(TABLES)} tables")
    except NotEmpty as there:
        typer.echo(str(there), err=True)
        sys.exit(not is_once)
    except (NoDatabase, BadSeed) as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    cli()
