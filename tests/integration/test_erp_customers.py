"""The customers of a real capture: those alike are told, and only those, however the feed comes."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest

from schemas.operations import ExceptionCleared, ExceptionNoted
from tables.customers.matching import name_likeness, tax_likeness
from tests.support.erp_driver import Driver, final, interleaved, raw_log, raw_partitions


@pytest.mark.parametrize("seed", [None, 1])
def test_those_alike_are_told(seed: int | None) -> None:
    """Four tax ids are there twice on purpose; names are alike when only case, accents, signs and legal forms differ."""
    driver = Driver(seed)
    driver.feed(interleaved(raw_partitions(raw_log()), Random(seed or 0)))
    told: dict[str, str] = {}
    for event in driver.told:
        if isinstance(event, ExceptionNoted) and event.code == "duplicate_customer":
            told[event.fingerprint] = event.sentence
        elif isinstance(event, ExceptionCleared):
            told.pop(event.fingerprint, None)
    alike: dict[str, set[str]] = defaultdict(set)
    for row in final("customer"):
        for likeness in (tax_likeness(row["tax_id"]), name_likeness(row["name"])):
            if likeness is not None:
                alike[f"duplicate_customer:{likeness}"].add(row["customer_no"])
    expected = {fingerprint: customers for fingerprint, customers in alike.items() if len(customers) > 1}
    assert sum(":tax:" in fingerprint for fingerprint in expected) == 4
    assert set(told) == set(expected)
    for fingerprint, customers in expected.items():
        assert all(customer in told[fingerprint] for customer in customers)
