"""`python -m infra.erp.load`: people and programs at work on the ERP's database, several sessions at once.

What one session does follows from the seed; how the sessions' transactions interleave is the database's business.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Annotated

import psycopg
import typer
from psycopg import errors

from infra.erp import master, purchasing, sales
from infra.erp.database import Connection, Cursor, NoDatabase, connected
from infra.erp.user import ErpUser, customers_in, places_in

Work = Callable[[Cursor, ErpUser], None]
LONG_S = (0.5, 2.0)


class UserChangedTheirMind(Exception):
    """The transaction is rolled back."""


def think_long(cursor: Cursor, user: ErpUser) -> None:
    """An order is entered by somebody who is called away: its rows are older than the commits that come before its own."""
    order_no = sales.enter_header(cursor, user)
    sales.enter_line(cursor, user, order_no, 10)
    time.sleep(user.dice.uniform(*LONG_S))
    sales.enter_line(cursor, user, order_no, 20)


def change_mind(cursor: Cursor, user: ErpUser) -> None:
    """An order is entered and thrown away."""
    sales.place_order(cursor, user)
    sales.allocate(cursor, user)
    raise UserChangedTheirMind


def correct_in_place(cursor: Cursor, user: ErpUser) -> None:
    """A line is entered, taken back (savepoint), and another entered."""
    order_no = sales.enter_header(cursor, user)
    cursor.execute("SAVEPOINT line")
    sales.enter_line(cursor, user, order_no, 10)
    cursor.execute("ROLLBACK TO SAVEPOINT line")
    sales.enter_line(cursor, user, order_no, 20)


WORK: tuple[tuple[Work, int], ...] = (
    (sales.place_order, 24),
    (sales.allocate, 18),
    (sales.ship, 12),
    (sales.settle_invoice, 6),
    (sales.change_line, 3),
    (sales.drop_line, 5),
    (sales.delete_order, 2),
    (purchasing.order_goods, 3),
    (purchasing.receive, 8),
    (purchasing.expect_later, 2),
    (purchasing.cancel_goods, 1),
    (purchasing.count_stock, 4),
    (master.change_price, 5),
    (master.import_prices, 1),
    (master.drop_price, 1),
    (master.change_customer, 3),
    (master.add_customer, 1),
    (master.change_item, 3),
    (master.describe_item, 2),
    (master.renumber_item, 2),
    (correct_in_place, 1),
    (change_mind, 2),
    (think_long, 1),
)
ONCE: tuple[tuple[float, Work], ...] = (
    (0.3, master.change_list),
    (0.4, lambda cursor, desk: master.add_column(cursor, "item", "origin", "XX")),
    (0.7, lambda cursor, desk: master.add_column(cursor, "sales_order", "ship_via", "GROUND")),
)
"""What one session does once, after so much of the time."""


@dataclass(slots=True)
class LoadReport:
    """Transactions that were committed, by what they did, and rolled back."""

    committed: Counter[str] = field(default_factory=Counter)
    rolled_back: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ErpLoad:
    """Sessions at work. `rate`: transactions a second, of all together."""

    url: str
    seed: int
    rate: float
    seconds: float
    sessions: int = 4
    alters: bool = True
    report: LoadReport = field(default_factory=LoadReport)
    _failed: list[Exception] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> LoadReport:
        """Work for `seconds`, or until stopped. Raises `NoDatabase`, or what ended a session."""
        with connected(self.url) as connection, connection.cursor() as cursor:
            places, customers = places_in(cursor), customers_in(cursor)
        if not places:
            raise NoDatabase("The ERP's tables are empty: fill them with python -m infra.erp.seed first.")
        dice = [Random(f"{self.seed}/{number}") for number in range(self.sessions)]  # noqa: S311 - reproducible, not secret
        desks = [ErpUser(one, places, list(customers)) for one in dice]
        threads = [threading.Thread(target=self._session, args=sat_at, daemon=True) for sat_at in enumerate(desks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # so that Ctrl-C is heard
        if self._failed:
            raise self._failed[0]
        return self.report

    def stop(self) -> None:
        """End soon; `run` returns once all sessions have."""
        self._stop.set()

    def _session(self, number: int, user: ErpUser) -> None:
        try:
            with connected(self.url) as connection:
                self._work(connection, number, user)
        except (NoDatabase, psycopg.Error) as error:
            self._failed.append(error)
            self._stop.set()

    def _work(self, connection: Connection, number: int, user: ErpUser) -> None:
        with connection.cursor() as cursor:
            works, weights = [work for work, _ in WORK], [weight for _, weight in WORK]
            once = list(ONCE) if number == 0 and self.alters else []
            began, done = time.monotonic(), 0
            while (passed := time.monotonic() - began) < self.seconds and not self._stop.is_set():
                if once and passed > once[0][0] * self.seconds:
                    self._do(cursor, user, once.pop(0)[1], "once")
                work = user.dice.choices(works, weights)[0]
                self._do(cursor, user, work, work.__name__)
                done += 1
                self._stop.wait(max(0.0, began + done * self.sessions / self.rate - time.monotonic()))

    def _do(self, cursor: Cursor, user: ErpUser, work: Work, name: str) -> None:
        try:
            work(cursor, user)
            cursor.connection.commit()
            self.report.committed[name] += 1
        except (UserChangedTheirMind, errors.DeadlockDetected, errors.UniqueViolation) as reason:
            cursor.connection.rollback()
            self.report.rolled_back[name if isinstance(reason, UserChangedTheirMind) else type(reason).__name__] += 1


def ask_snapshot(connection: Connection, *tables: str) -> None:
    """Have Debezium read tables again, while changes go on (an incremental snapshot)."""
    order = {"type": "incremental", "data-collections": [f"public.{table}" for table in tables]}
    connection.execute("INSERT INTO debezium_signal VALUES (%s, 'execute-snapshot', %s)", (str(uuid.uuid4()), json.dumps(order)))
    connection.commit()


cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    url: Annotated[str, typer.Argument(help="The database, as infra/erp/start.sh prints it.")],
    seed: Annotated[int, typer.Option(help="What each session does follows from it.")] = 1,
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Transactions a second, of all sessions together.")] = 20,
    seconds: Annotated[float, typer.Option(min=0, max=86_400, help="How long.")] = 30,
    sessions: Annotated[int, typer.Option(min=1, max=32, help="How many work at once.")] = 4,
    alters: Annotated[bool, typer.Option(help="Have columns added in the middle, as a new version of the ERP would.")] = True,
    snapshot: Annotated[str, typer.Option(help="Have Debezium read these tables again first, like item,customer.")] = "",
) -> None:
    """Orders and their lines, allocation, shipping, invoices, purchase orders, receipts, counts, prices, customers, long texts,
    renumbered items, deletes, long transactions, rollbacks, deadlocks, COPY.

    python -m infra.erp.load postgresql://erp:erp@127.0.0.1:5432/erp --rate 50 --seconds 60
    """
    try:
        if snapshot:
            with connected(url) as connection:
                ask_snapshot(connection, *snapshot.split(","))
        report = ErpLoad(url, seed, rate, seconds, sessions, alters).run()
    except (NoDatabase, psycopg.Error) as error:
        typer.echo(str(error).strip(), err=True)
        sys.exit(1)
    typer.echo(f"{report.committed.total()} transactions committed, {report.rolled_back.total()} rolled back")
    for name, count in sorted((report.committed + report.rolled_back).items()):
        typer.echo(f"  {count:6d}  {name.replace('_', ' ')}")


if __name__ == "__main__":
    cli()
