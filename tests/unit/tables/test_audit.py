"""The audit names the first event after which more was promised than there was, or says that there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.inventory import LedgerEntry, Status, StockMoved, StockStatusChanged
from tables.audit import Oversale, oversales
from tests.unit.tables.promises import NOON, Bench


def audited(b: Bench, at_ms: int | None = None) -> list[Oversale]:
    return list(oversales([e for e in b.said if isinstance(e, LedgerEntry)], at_ms=at_ms))


def promised() -> Bench:
    """Ten usable at DC1, all of it promised."""
    b = Bench()
    b.item()
    b.receive("10", at=0)
    b.minute = 10
    b.order("6", "web:1")
    b.reserve("4", ttl_minutes=600)
    return b


CAUSES: list[tuple[str, Callable[[Bench], object]]] = [
    ("manual_edit", lambda b: b.adjust("-3")),
    ("late_event", lambda b: b.adjust("-3", at=5)),
    ("count", lambda b: b.count("4")),
    ("short_pick", lambda b: b.short("0", "5", "web:9")),
    ("unpromised_pick", lambda b: b.pick("5", "web:9")),
    ("unpromised_pick", lambda b: b.ship("5", "web:9")),
    ("receipt_reversed", lambda b: b.receive("-5")),
    ("moved_away", lambda b: b._stock(StockMoved, "5", "SKU-1", "DC1", None, None, status=Status.USABLE, to_site="DC2")),
    (
        "status_changed",
        lambda b: b._stock(
            StockStatusChanged, "5", "SKU-1", "DC1", None, None, from_status=Status.USABLE, to_status=Status.DAMAGED
        ),
    ),
]


@pytest.mark.parametrize(("kind", "happens"), CAUSES)
def test_the_event_and_its_cause_are_named(kind: str, happens: Callable[[Bench], object]) -> None:
    b = promised()
    assert audited(b) == [], "until then there is a proof that nothing was oversold"
    b.minute = 20
    assert happens(b) in ("applied", None)
    (found, *_) = audited(b)
    assert (found.kind, found.site) == (kind, "DC1")
    assert found.short_milli == found.promised_milli - found.available_milli > 0
    assert audited(b, at_ms=NOON + 15 * 60_000) == [], "as of an earlier instant nothing was"


def test_it_says_when_it_ended() -> None:
    b = promised()
    b.minute = 20
    b.adjust("-3")
    b.minute = 30
    b.receive("3")
    (found,) = audited(b)
    assert (found.recorded_at_ms, found.until_ms) == (NOON + 20 * 60_000, NOON + 30 * 60_000)
