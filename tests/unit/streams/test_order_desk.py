"""What people decide about orders that wait: commands on the right inbox, and what is said when there is nothing to decide."""

from __future__ import annotations

from typing import Any, cast

import pytest

from connectors.api.ports import Invalid, NotKnown
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import RetryObligation
from schemas.operations import ExceptionRow
from schemas.orders import OrderStatus, ReleaseHold
from streams.commands.api_commands import ExceptionCommands
from streams.commands.hold_release import HoldRelease
from streams.engine.log import TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.queries.published import Published
from tests.support.api_fakes import ORDER, exception

CODEC = Codec()
ORDER_ID = "web:W/1"


class Shown:
    """The published rows the desks look at."""

    def __init__(self, *, order: OrderStatus | None = None, row: ExceptionRow | None = None) -> None:
        self._order, self._row = order, row

    def order(self, order_id: str) -> OrderStatus | None:
        return self._order if order_id == ORDER_ID else None

    def exception(self, fingerprint: str) -> ExceptionRow | None:
        return self._row if self._row is not None and fingerprint == self._row.fingerprint else None

    def exception_page(self, after: str | None, limit: int) -> list[ExceptionRow]:
        return []

    def dead_letters(self) -> list[Any]:
        return []


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(topics.DEFINED)
    return log


def written(log: MemoryLog, topic: topics.Topic) -> list[tuple[str, Any]]:
    found = []
    for partition in range(topic.partitions):
        for record in log.read(TopicPartition(topic.name, partition), 0, 100):
            assert record.key is not None
            found.append((record.key.decode(), CODEC.decode(record.value or b"")))
    return found


def order(decision: str, *holds: str) -> OrderStatus:
    facts = {name: getattr(ORDER, name) for name in OrderStatus.__struct_fields__} | {"decision": decision, "holds": list(holds)}
    return OrderStatus(**facts)


def holds(log: MemoryLog, shown: OrderStatus | None) -> HoldRelease:
    return HoldRelease(log, cast(Published, Shown(order=shown)), CODEC, lambda: 7)


@pytest.mark.parametrize("reason", ["", "credit_limit"])
def test_a_held_order_is_released(log: MemoryLog, reason: str) -> None:
    holds(log, order("held", "credit_limit", "price_mismatch")).release(ORDER_ID, reason, "dana", "paid")
    ((key, command),) = written(log, topics.ORDER_INBOX)
    assert isinstance(command, ReleaseHold)
    assert (key, command.order_id, command.reason, command.person, command.note) == (ORDER_ID, ORDER_ID, reason, "dana", "paid")
    assert (command.source, command.occurred_at_ms) == ("api", 7)


def test_what_is_not_held_cannot_be_released(log: MemoryLog) -> None:
    with pytest.raises(NotKnown, match="not known"):
        holds(log, None).release(ORDER_ID, "", "dana", "")
    for shown, says in ((order(""), "it is allocated"), (order("accepted"), "it is accepted")):
        with pytest.raises(Invalid, match=says):
            holds(log, shown).release(ORDER_ID, "", "dana", "")
    with pytest.raises(Invalid, match="not held for 'erp_refused'") as error:
        holds(log, order("held", "credit_limit")).release(ORDER_ID, "erp_refused", "dana", "")
    assert error.value.is_conflict
    assert "credit_limit" in error.value.hint
    assert written(log, topics.ORDER_INBOX) == []


@pytest.mark.parametrize("reason", ["invoice_refused", "credit_refused"])
def test_what_the_erp_refused_to_bill_is_asked_again_though_the_order_goes_on(log: MemoryLog, reason: str) -> None:
    """These hold nothing up, so the order is not held; their advice is to release them all the same."""
    change, _ = holds(log, order("accepted")).release(ORDER_ID, reason, "dana", "corrected")
    ((_, command),) = written(log, topics.ORDER_INBOX)
    assert (command.reason, command.event_id) == (reason, change)


def exhausted(fingerprint: str, state: str = "open", *, aggregate: str | None = ORDER_ID) -> ExceptionRow:
    row = exception(fingerprint, state)
    facts = {name: getattr(row, name) for name in ExceptionRow.__struct_fields__}
    return ExceptionRow(**(facts | {"code": "obligation_exhausted", "order_id": aggregate}))


def desk(log: MemoryLog, row: ExceptionRow) -> ExceptionCommands:
    return ExceptionCommands(log, cast(Published, Shown(row=row)), CODEC, lambda: 7)


@pytest.mark.parametrize("state", ["open", "assigned", "resolved"])
def test_an_exhausted_obligation_is_tried_again(log: MemoryLog, state: str) -> None:
    fingerprint = "obligation_exhausted:erp-1:web:W/1/post/2"
    assert desk(log, exhausted(fingerprint, state)).replay(fingerprint).ids == ["web:W/1/post/2"]
    ((key, command),) = written(log, topics.DELIVERY_INBOX)
    assert isinstance(command, RetryObligation)
    assert (key, command.endpoint, command.aggregate) == ("erp-1", "erp-1", ORDER_ID)
    assert command.obligation_id == "web:W/1/post/2"


@pytest.mark.parametrize(
    "row",
    [
        exhausted("obligation_exhausted:erp:web:W/1/post/2", "cleared"),
        exhausted("obligation_exhausted:erp"),
        exhausted("obligation_exhausted:erp:web:W/1/post/2", aggregate=None),
    ],
)
def test_what_is_not_exhausted_is_not_tried_again(log: MemoryLog, row: ExceptionRow) -> None:
    with pytest.raises(Invalid) as error:
        desk(log, row).replay(row.fingerprint)
    assert error.value.is_conflict
    assert written(log, topics.DELIVERY_INBOX) == []
