"""Whatever becomes of the ERP's database and its connector, what is held ends as what the database has."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.base import ErpTableNews
from schemas.customers import ErpCustomersNews
from schemas.documents import ErpDocumentsNews
from schemas.errors import Refused
from schemas.inventory import ErpItemsNews, ErpLineDoubted
from schemas.topics import ROUTES
from tables.common.cdc_tables import EVERY_PART, READ, is_unread
from tests.support.erp_driver import CODEC, Driver
from tests.support.erp_histories import HELD, KEYS, Database, held

STEPS = ("change",) * 12 + ("crash", "incremental", "blocking", "truncate", "anew", "lower", "cut short")


class Late(Driver):
    """The folds; what they refuse is set aside, to be replayed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.refused: list[tuple[str, Any]] = []

    def send(self, event: Any) -> None:
        """To its inbox: here each fold has one partition, so that a broadcast comes once."""
        topic = ROUTES[type(event)].topic.name
        self.queues[topic, 0].append(CODEC.decode(CODEC.encode(event)))

    def apply(self, topic: str, event: Any) -> None:
        """One event to its fold."""
        try:
            super().apply(topic, event)
        except Refused:
            self.refused.append((topic, event))

    def replay(self) -> None:
        """A person has the dead letters fed again."""
        again, self.refused = self.refused, []
        for topic, event in again:
            self.apply(topic, event)
        self.pump(None)


def _history(random: Random) -> Database:
    database = Database(random)
    database.begin()
    for _ in range(random.randrange(5, 60)):
        step = random.choice(STEPS)
        if step == "change":
            database.change()
        elif step == "crash":
            database.crash()
        elif step == "truncate":
            database.truncate(random.choice(list(KEYS)))
        elif step in ("incremental", "blocking"):
            database.read(random.choice(list(KEYS)), is_incremental=step == "incremental")
        else:
            database.begin(is_lower=step == "lower", is_cut_short=step == "cut short")
    return database


def _settle(driver: Late, table: str, history: int, at_ms: int) -> None:
    """A person says that the snapshot is over."""
    kind: type[ErpTableNews] = ErpDocumentsNews
    if HELD[table][0] != "documents":
        kind = ErpItemsNews if HELD[table][0] == "promise" else ErpCustomersNews
    said = kind(
        event_id=f"settle:{table}:{history}",
        source="api",
        source_position=at_ms,
        occurred_at_ms=at_ms,
        recorded_at_ms=at_ms,
        trace_id="api",
        table=table,
        what=READ,
        connector="erp",
        epoch=0,
        history=history,
        commit_position=0,
        part=EVERY_PART,
        person="ada",
        reason="nothing changes there",
    )
    driver.send(said)
    driver.pump(None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_what_is_held_ends_as_what_the_database_has(seed: int) -> None:
    """Before a person says so, too: every row of the database is held as it is, and what is held beyond them is doubted."""
    random = Random(seed)
    database = _history(random)
    driver = Late(seed)
    driver.feed(database.delivered(random))
    driver.replay()
    assert not driver.refused
    for table, (fold, _, _) in HELD.items():
        rows = {(*key, state) for (name, key), state in database.rows.items() if name == table}
        known = getattr(driver, fold).erp_tables.get((table,))
        found = held(driver, table)
        assert rows <= set(found), table
        assert all(is_unread(row.version, known) for row in [found[key] for key in set(found) - rows]), table
    for table, (fold, _, _) in HELD.items():
        known = getattr(driver, fold).erp_tables.get((table,))
        if known is not None:
            _settle(driver, table, known.history, database.ms + 1)
        rows = {(*key, state) for (name, key), state in database.rows.items() if name == table}
        assert set(held(driver, table)) == rows, table
        if known is not None:
            assert getattr(driver, fold).erp_tables[(table,)].unread == 0, table
    doubted: dict[str, bool] = {event.line: event.is_doubted for event in driver.told if isinstance(event, ErpLineDoubted)}
    assert not any(doubted.values())
    assert not driver.documents.doubted_lines
