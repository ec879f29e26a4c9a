"""The real thing: PostgreSQL, Debezium, Kafka, our translators and folds, while the ERP's people work and Connect is killed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event as Stop
from threading import Thread

import pytest
from confluent_kafka.admin import AdminClient

from infra.erp.database import TABLES, connected
from infra.erp.extract import extract
from infra.erp.load import ErpLoad, ask_snapshot
from infra.erp.seed import NotEmpty, seed
from schemas.codec import Codec
from schemas.topics import RAW_ERP
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import Unavailable
from streams.engine.worker import Worker
from streams.queries.reconcile import Reconciliation, reconcile
from streams.queries.table_views import TableView
from streams.runtime.app import all_flows
from streams.runtime.open_log import all_topics
from streams.settings.settings import Settings, load
from tests.support.erp import EXTRACT, Feed, database, feed
from tests.support.kafka_broker import KAFKA
from tests.support.log_harness import everything, fresh

pytestmark = pytest.mark.kafka
PATIENCE_S = 90.0
ERP_SITES = ("EU1", "DC2")
ADDED = "item.origin"  # a column added with a default: no record says its value until a row changes


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s"
        time.sleep(0.2)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv(KAFKA, raising=False)  # the settings would take it for one of theirs
    return load(site={site: {"physical_owner": "erp"} for site in ERP_SITES})


@pytest.fixture
def kafka(broker: str, given: Settings, tmp_path: Path) -> Iterator[KafkaLog]:
    """All topics, empty."""
    admin = AdminClient({"bootstrap.servers": broker})
    names = {topic.name for topic in all_topics(given)}

    def there() -> set[str]:
        return names & set(admin.list_topics(timeout=10).topics)

    for future in (admin.delete_topics(list(there())) if there() else {}).values():
        future.result(10)
    until("topics gone", lambda: not there())
    log = KafkaLog(KafkaSettings(broker), tmp_path / "kafka")
    log.create(all_topics(given))
    yield log
    log.close()


@contextmanager
def folding(log: KafkaLog, settings: Settings) -> Iterator[tuple[Worker, TableView]]:
    """Every flow at work, and its tables."""
    flows, group, stop = all_flows(settings), fresh("debezium"), Stop()
    log.keep(group, [flow.name for flow in flows], [topic.name for topic in all_topics(settings)])
    worker = Worker(log, flows, Codec(), group=group)
    thread = Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield worker, TableView(log, flows)
    finally:
        stop.set()
        thread.join()
        worker.close()


@contextmanager
def at_work(url: str) -> Iterator[ErpLoad]:
    """The ERP's people, until the end of the block."""
    people = ErpLoad(url, seed=1, rate=25, seconds=40)
    working = Thread(target=people.run)
    working.start()
    try:
        yield people
    finally:
        people.stop()
        working.join()


def kill_with_work_in_hand(connect: Feed) -> None:
    """kill -9 a while after it noted how far it has read: what came since, it will send again."""
    noted = connect.noted_at()
    until("Connect notes how far it has read", lambda: connect.noted_at() > noted)
    time.sleep(2)
    connect.kill()


def test_the_database_row_by_row(broker: str, kafka: KafkaLog, given: Settings, tmp_path: Path) -> None:
    """A snapshot of what was there, then changes, duplicates after a crash, a second snapshot: our tables are the database's."""
    with folding(kafka, given) as (worker, tables), database() as url, feed(broker, url) as connect:
        with at_work(url) as people:
            connect.start()
            kill_with_work_in_hand(connect)
            connect.start()
            with connected(url) as connection:
                ask_snapshot(connection, "inventory_balance", "customer")
            time.sleep(5)
        with connected(url) as connection:
            extract(connection, tmp_path / "extract")
        last: list[Reconciliation] = []

        def is_equal() -> bool:
            with suppress(Unavailable):  # rows are being read
                last[:] = [reconcile(tables.scan, tmp_path / "extract", ERP_SITES, without=[ADDED])]
            return bool(last) and last[0].is_equal

        try:
            until("our tables are the database's", is_equal)
        except AssertionError as error:
            raise AssertionError(f"{error}; {shown(last[-1]) if last else 'no rows'}; set aside {worker.halted}") from None
        fates = Counter[str]()
        for found in worker.fates().values():
            fates += Counter(duplicate=found.duplicate, dead=found.dead_lettered)
        assert fates["duplicate"] > 0
        assert fates["dead"] == 0
        require_a_day(people, last[0])
        assert not worker.halted
    assert everything(kafka, RAW_ERP["other"].name, 1)  # heartbeats, signals


def shown(compared: Reconciliation) -> str:
    """What differs, by column, and one short example."""
    columns = Counter(f"{found.table}.{found.column}" for found in compared.differences)
    example = min(compared.differences, key=lambda found: len(str(found)), default=None)
    return f"{dict(columns)} differ, like {example}; not compared: {compared.not_compared}"


def require_a_day(people: ErpLoad, compared: Reconciliation) -> None:
    """It was worth comparing: all kinds of work were done, and all tables were compared."""
    assert {"place_order", "receive", "renumber_item", "drop_line", "import_prices", "think_long"} <= set(people.report.committed)
    assert people.report.rolled_back["change_mind"] > 0
    rows = {table.table: table.rows_compared for table in compared.tables}
    assert all(count > 0 for count in rows.values()), rows
    assert rows["sales_order_line"] > 1_700


def test_an_extract_says_what_was_filled_in(tmp_path: Path) -> None:
    """Text, numbers, days, local and zoned instants: nothing is lost on the way in and out, nor added a second time."""
    with database() as url, connected(url) as connection:
        extract(connection, tmp_path)
        with pytest.raises(NotEmpty, match="only an empty database"):
            seed(connection, EXTRACT)
    for table in TABLES:
        there, given = (rows_of(directory / f"{table}.json") for directory in (tmp_path, EXTRACT))
        assert there == given, table


def rows_of(path: Path) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in json.loads(path.read_text()))
