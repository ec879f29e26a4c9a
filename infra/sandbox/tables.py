"""The ERP's change feed written into its real database instead, from where Debezium takes it to crossdock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql

from infra.sandbox.outbox import NotWritten

_EPOCH, _EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)


class ErpTables:
    """The ERP's tables at `url`. A row is written as it is now, however often it comes: messages may be sent again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def write(self, messages: list[dict[str, Any]]) -> None:
        """The rows of change feed messages, a transaction of the feed in one of the database. Raises `NotWritten`."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, connect_timeout=10, application_name="sandbox", autocommit=True)
            for _, changes in groupby(messages, lambda message: message["value"]["source"]["txId"]):
                with self._connection.transaction():
                    for message in changes:
                        self._put(message["value"]["source"]["table"], message["key"], message["value"]["after"])
        except psycopg.Error as error:
            self.close()
            raise NotWritten(f"the ERP's database: {str(error).strip().splitlines()[0]}") from None

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _put(self, table: str, key: dict[str, Any], row: dict[str, Any]) -> None:
        assert self._connection is not None
        columns, others = list(row), [name for name in row if name not in key]
        change = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in others]
        put = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.Placeholder() * len(columns)),
            sql.SQL(", ").join(map(sql.Identifier, key)),
            sql.SQL(", ").join(change),
        )
        self._connection.execute(put, [_value(name, row[name]) for name in columns])


def _value(column: str, value: Any) -> Any:
    """A column as SQL has it: the feed has days and local times as counts."""
    if not isinstance(value, int):
        return value
    if column.endswith("_date"):
        return _EPOCH_DAY + timedelta(days=value)
    return (_EPOCH + timedelta(milliseconds=value)).replace(tzinfo=None) if column == "updated_at" else value
