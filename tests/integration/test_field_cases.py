"""Inputs out of public bug reports, played as their systems would send them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.field_kit import DATA, Field

RIGHT = {
    "decimal-text-without-a-point",
    "envelopes-of-other-databases",
    "partitioned-table",
    "second-snapshot",
    "truncated-table",
    "numbers-as-written-in-germany",
    "erp-order-number-from-the-warehouse",
    "one-reference-several-customers",
    "pack-quantity-changed",
    "shipment-sent-again",
    "shop-order-edited",
    "expected-in-year-one",
    "infinity",
    "lot-without-end",
    "padded-item-number",
    "placeholder-dates",
    "unknown-time-zone",
    "mistyped-site",
    "moved-to-an-unknown-site",
    "one-instant",
    "message-numbers-of-two-warehouses",
    "padded-site",
    "receipts-of-an-item-to-come",
    "shipment-in-two-messages",
    "order-dates-at-the-ends",
    "orders-truncated",
    "prices-as-whole-numbers",
    "restored-database",
    "upper-case-tables",
}
PENDING = frozenset(path.stem for path in DATA.glob("*.json")) - RIGHT  # those that are not right yet
CASES = sorted(path.stem for path in DATA.glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_the_outcome_is_right(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name in PENDING:
        request.applymarker(pytest.mark.xfail(reason="not right yet"))
    field = Field(name, tmp_path)
    try:
        wrong = field.play()
        assert [] in wrong, "\n\nor\n\n".join("\n".join(outcome) for outcome in wrong)
    finally:
        field.server.kill()
