"""Whatever an event's schema allows, a fold takes or refuses it: no value makes a rule fail, or leaves rows that cannot be kept.

Rules run on dicts, one event after the other, over a few items, sites and orders, so that odd values meet in one place. Longs are
of every size but for quantities, which no connector lets through beyond `MAX_MILLI`, and line numbers. A seed makes a run.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.bounds import MAX_LINE
from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage, NotYet
from schemas.frozen import Frozen
from schemas.quantity import MAX_MILLI
from streams.engine.flow import Fold
from streams.engine.keys import KeyCodec
from streams.flows.customers import customers
from streams.flows.deliveries import deliveries_fold
from streams.flows.documents import documents
from streams.flows.exceptions import exceptions
from streams.flows.orders import orders_fold
from streams.flows.promise import promise_fold
from tables.common.policy import ChannelPolicy, EndpointPolicy, OrderPolicy, Policy, SitePolicy
from tables.common.table import in_memory, row_types
from tables.deliveries.state import EndpointPolicies

CODEC = Codec()
NOW_MS = 1_795_900_000_000
DAYS = [date.min, date.max, date(1899, 12, 30), date(1900, 1, 1), date(2026, 11, 29), date(2026, 12, 5), date(2199, 12, 31)]
INSTANTS = [-(2**63), -1, 0, NOW_MS, NOW_MS, NOW_MS + 1, 253_402_300_799_999, 2**62, 2**63 - 1]
LONGS = [-(2**63), -1, 0, 1, 2, 3, 1_000, 9_999_999, 2**31, 2**62, 2**63 - 1_000]  # room for successors
MILLIS = [-MAX_MILLI, -1_000, 0, 1, 1_000, 1_000, 4_000, 7_000, MAX_MILLI]
MOST = Decimal("99999999999999999999999999999.999999999")
PRICES = [Decimal(0), Decimal("1.5"), MOST, MOST.copy_negate(), Decimal("1e-9")]
TEXTS = [
    "",
    "A",
    "web",
    "OPEN",
    "O",
    "\0",
    "infinity",
    "9999-12-31T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "2026-11-28T20:00:00Z",
]
FEW: dict[str, list[Any]] = {
    "item": ["A", "B"],
    "new_item": ["A", "B"],
    "old_item": ["A", "B"],
    "substitute_item": ["A", "B"],
    "site": ["DC1", "DC2"],
    "to_site": ["DC1", "DC2"],
    "order_id": ["web:1"],
    "order_no": ["SO1"],
    "po_no": ["PO1"],
    "invoice_no": ["I1"],
    "customer": ["C1", "C2"],
    "endpoint": ["erp", "wms"],
    "channel": ["web", "edi"],
    "uom": ["EA", "BX"],
    "pack_uom": ["BX"],
    "base_uom": ["EA", "KG"],
    "lot": ["L"],
    "timezone": [
        "UTC",
        "America/Chicago",
        "America/Chicago ",
        "Mars/Phobos",
        "America",
        "",
        "/etc/passwd",
        "\0",
        "../x",
        "x" * 300,
    ],
    "line": [1, MAX_LINE],
    "line_no": [1, MAX_LINE],
    "order_line_no": [1, MAX_LINE],
    "is_deleted": [False, False, False, True],
}
"""Names are few, so that events meet."""


class Dice:
    """Any value of any field, the edges of its range more often than not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def event(self, cls: Any) -> Any:
        """Any event of a type."""
        return cls(**{name: self.value(name, hint) for name, hint in _hints(cls).items()})

    def value(self, name: str, hint: Any) -> Any:
        """Any value of a field."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (types.UnionType, typing.Union):
            return None if self.random.random() < 0.3 else self.value(name, args[0])
        if name in FEW and isinstance(FEW[name][0], hint):  # a line is a number to one event and a key to another
            return self.random.choice(FEW[name])
        if origin is list:
            return [self.value("", args[0]) for _ in range(self.random.randrange(3))]
        if origin is dict:
            return {self.value("", args[0]): self.value("", args[1]) for _ in range(self.random.randrange(2))}
        if issubclass(hint, enum.Enum):
            return self.random.choice(list(hint))
        return self.event(hint) if issubclass(hint, Frozen) else self.random.choice(_edges(name, hint))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _edges(name: str, hint: Any) -> list[Any]:
    longs = INSTANTS if name.endswith("_ms") else MILLIS if name.endswith("_milli") else LONGS
    edges: dict[Any, list[Any]] = {
        str: TEXTS,
        int: longs,
        bool: [True, False],
        date: DAYS,
        Decimal: PRICES,
        bytes: [b"", b"x"],
    }
    return edges[hint]


class Kept:
    """A fold's tables on dicts, held to what the engine can keep."""

    def __init__(self, fold: Fold[Any]) -> None:
        self.fold = fold
        self.tables: Any = in_memory(fold.tables)
        self.codecs = {
            name: (KeyCodec(b"", keys), msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(row))
            for name, (keys, row) in row_types(fold.tables).items()
        }

    def apply(self, event: Any) -> str:
        """What became of the event. Whatever else is raised, is the defect looked for."""
        before = {name: dict(getattr(self.tables, name)) for name in self.codecs}
        try:
            for caused in list(self.fold.rules[type(event)](self.tables, event)):
                CODEC.encode(caused)
        except (AlreadyApplied, BadMessage, NotYet) as answer:
            for name, rows in before.items():
                table = getattr(self.tables, name)
                table.clear()
                table.update(rows)
            return type(answer).__name__
        for name, (key_codec, encoder, decoder) in self.codecs.items():
            for key, row in getattr(self.tables, name).items():
                if before[name].get(key) is not row:
                    assert key_codec.decode(key_codec.encode(key)) == key
                    assert decoder.decode(encoder.encode(row)) == row
        self.derive(before)
        return "applied"

    def derive(self, before: dict[str, dict[Any, Any]]) -> None:
        """What is published of changed keys can be written."""
        for derived in self.fold.derivations:
            changed = {
                key[0]
                for name in derived.on
                for key, row in getattr(self.tables, name).items()
                if before[name].get(key) is not row
            }
            for key in sorted(changed, key=str):
                published = derived.function(self.tables, key, 1)
                if published is not None:
                    CODEC.encode(published)


POLICY = Policy(
    sites={"DC2": SitePolicy(physical_owner="erp", past_due_days=2)},
    channels={"web": ChannelPolicy(cap_milli=10_000), "edi": ChannelPolicy(floor_milli=5_000)},
    infinite_after_days=10,
)
ORDER_POLICY = OrderPolicy(erp="erp", wms="wms", notify=("portal",))
FOLDS: dict[str, Callable[[], Fold[Any]]] = {
    "promise": lambda: promise_fold(POLICY, ORDER_POLICY),
    "plain promise": lambda: promise_fold(Policy()),
    "orders": lambda: orders_fold(ORDER_POLICY, POLICY),
    "documents": lambda: documents,
    "customers": lambda: customers,
    "deliveries": lambda: deliveries_fold(EndpointPolicies({"erp": EndpointPolicy(), "wms": EndpointPolicy()})),
    "exceptions": lambda: exceptions,
}


@pytest.mark.parametrize("name", FOLDS)
def test_no_value_makes_a_rule_fail(name: str) -> None:
    fold = FOLDS[name]()
    kinds = sorted(fold.rules, key=lambda cls: cls.__name__)

    @settings(max_examples=300)
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        dice, kept = Dice(seed), Kept(fold)
        for _ in range(16):
            kept.apply(dice.event(dice.random.choice(kinds)))

    check()
