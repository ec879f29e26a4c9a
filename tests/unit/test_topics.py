"""Topics: each declared once, each event type on one topic with one writer."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, get_args

import pytest

from schemas import topics
from schemas.customers import ErpCustomersNews
from schemas.documents import ErpDocumentsNews
from schemas.frozen import fields
from schemas.inventory import ErpItemsNews
from schemas.operations import ErpRowsUnread, ExceptionCleared, ExceptionNoted, ExceptionRow
from schemas.orders import (
    ErpNumberReported,
    ErpOrderChanged,
    ErpOrderLineChanged,
    InvoiceLinePosted,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
)
from schemas.reported import TYPES
from schemas.topics import DEFINED, ROUTES, Topic, raw_channel
from tables.customers.emits import CustomerEmit
from tables.deliveries.emits import DeliveryEmit
from tables.documents.emits import DocumentsEmit
from tables.inventory.emits import PromiseEmit
from tables.orders.emits import OrderEmit

ALL = (*DEFINED, raw_channel("web"))
WRITTEN_BY_MANY = {
    ExceptionNoted,  # any flow may note that something is wrong
    ExceptionCleared,
    OrderPlaced,  # the order fold passes on what came under a reference that several orders have
    OrderCancelRequested,
    OrderQuantityChangeRequested,
    ErpOrderChanged,
    ErpOrderLineChanged,
    InvoiceLinePosted,
    ErpNumberReported,
    ErpRowsUnread,  # each fold that keeps rows of the ERP's counts its own
    ErpItemsNews,  # that a snapshot is over shows in the feed, or a person says it
    ErpDocumentsNews,
    ErpCustomersNews,
    *TYPES.values(),  # and what a warehouse reports under the ERP's number
}


def test_every_topic_is_declared_once() -> None:
    assert [name for name, times in Counter(topic.name for topic in ALL).items() if times > 1] == []


def test_every_event_type_is_on_one_topic_and_its_name_is_its_own() -> None:
    types = [carried.type for topic in DEFINED for carried in topic.carries]
    assert [name for name, times in Counter(t.__name__ for t in types).items() if times > 1] == []
    assert set(ROUTES) == set(types)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
def test_a_topic_says_all_that_is_asked_of_it(topic: Topic) -> None:
    assert re.fullmatch(r"raw(\.[a-z_]+)+|[a-z-]+(\.[a-z-]+)*\.v\d+", topic.name)
    assert topic.key
    assert topic.owner
    assert topic.sla_ms > 0
    assert topic.partitions > 0
    assert (topic.cleanup == "delete") == (topic.retention_ms is not None)
    assert topic.is_raw == (not topic.carries)
    assert topic.is_inbox == (".inbox." in topic.name)


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
def test_every_event_type_has_one_writer(topic: Topic) -> None:
    if topic.is_raw:
        assert len(topic.writers) == 1
    for carried in topic.carries:
        assert len(carried.writers) == 1 or carried.type in WRITTEN_BY_MANY, carried.type.__name__
        assert len(set(carried.writers)) == len(carried.writers)


@pytest.mark.parametrize("topic", [topic for topic in DEFINED if not topic.is_inbox], ids=lambda topic: topic.name)
def test_a_topic_that_is_no_inbox_has_one_writer_in_all(topic: Topic) -> None:
    writers = {writer for carried in topic.carries for writer in carried.writers} | set(topic.writers)
    assert len(writers) == 1


def test_the_key_of_every_event_type_is_one_of_its_text_fields() -> None:
    for event, route in ROUTES.items():
        field = {f.name: f for f in fields(event)}[route.key]
        assert field.type is str, f"{event.__name__}.{route.key}"


@pytest.mark.parametrize(
    ("writer", "union"),
    [
        (topics.PROMISE, PromiseEmit),
        (topics.ORDERS, OrderEmit),
        (topics.DOCUMENTS, DocumentsEmit),
        (topics.CUSTOMERS, CustomerEmit),
        (topics.DELIVERIES, DeliveryEmit),
        (topics.EXCEPTIONS, ExceptionRow),
    ],
)
def test_a_fold_emits_what_it_is_the_declared_writer_of(writer: str, union: Any) -> None:
    """The type of its rules is the same set, so mypy finds a rule that yields what no topic lets it write."""
    assert set(get_args(union) or (union,)) == {event for event, route in ROUTES.items() if writer in route.writers}
