"""What waits for a thing that nobody has sent: nothing else does, all of it does, and people are told of each such thing."""

from __future__ import annotations

from collections.abc import Iterator

from infra.simulation.observe import CommittedState
from infra.simulation.oracle import Oracle
from schemas import topics
from streams.engine.fates import NAMESPACE, EngineTables
from streams.engine.log import StoreId
from streams.engine.quarantine import waiting_fingerprint
from streams.engine.table import EngineTable, Journal
from tables.common.table import row_types

ROWS = row_types(EngineTables)


def waits(oracle: Oracle, system: CommittedState) -> Iterator[str]:
    """The promise fold's events that wait."""
    facts: set[str] = set()
    events: set[str] = set()
    for index in range(topics.PARTITIONS):
        store = system.log.store(StoreId(topics.PROMISE, index))
        parked = EngineTable[tuple[str, int], object](f"{NAMESPACE}parked", *ROWS["parked"], store, Journal())
        for (fact, _), row in parked.under():
            event = system.codec.decode(getattr(row, "value", b""))
            facts.add(fact)
            if event.source == "wms":
                events.add(event.event_id.removeprefix("wms:"))
    for event_id in sorted(events ^ oracle.waiting()):
        yield f"{event_id} waits" if event_id in events else f"{event_id} does not wait for what nobody has sent"
    uncounted = {f"item:{fact.moves[0][0]}" for fact in oracle.warehouse if fact.is_uncounted}
    known = {f"site:{site}" for site in oracle.known_sites()} | {f"item:{item}" for item in oracle.known_items()} - uncounted
    yield from (f"something waits for {fact}, which is known" for fact in sorted(facts & known))
    rows = system.exceptions().values()
    told = {row.fingerprint for row in rows if row.code == "waiting" and row.state in ("open", "assigned")}
    expected = {waiting_fingerprint(topics.PROMISE, fact) for fact in facts}
    yield from (f"{name} is {'not told' if name in expected else 'told, and over'}" for name in sorted(told ^ expected))
