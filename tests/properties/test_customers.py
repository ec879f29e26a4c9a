"""Customers, whatever happens in whatever order: sums are exact, credit is never overdrawn, who is alike is told."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.customers import CustomerChanged
from tables.customers.matching import address_key, name_likeness, tax_likeness
from tests.support.customers import ROW, CustomersFold
from tests.support.erp_world import row_event

ORDERS = "abcde"
LIMITS = st.sampled_from([None, "0", "10.5", "25", "60"])
AMOUNTS = st.sampled_from(["0", "0.001", "5", "10.5", "20", "1e28"])
ASK = st.tuples(st.just("ask"), st.sampled_from(ORDERS), AMOUNTS)
ERP = st.tuples(
    st.just("erp"), LIMITS, st.sampled_from([False, False, True]), st.sampled_from(["A", "A", "A", "B"]), st.sampled_from("uuud")
)
REPEAT = st.tuples(st.just("repeat"), st.integers(0, 30))


class Book:
    """The oracle: newest amounts and the customer's facts, and every verdict checked against what must hold."""

    def __init__(self) -> None:
        self.customers = CustomersFold()
        self.amounts: dict[str, Decimal] = {}
        self.revisions: dict[str, int] = {}
        self.done: list[Any] = []
        self.limit: Decimal | None = None
        self.may_order = False

    def step(self, step: Any) -> None:
        before = {order: self.customers.verdict(order) for order in self.amounts}
        was = dict(self.amounts)
        if step[0] == "ask":
            self.ask(step[1], Decimal(step[2]))
        elif step[0] == "erp":
            self.erp(*step[1:])
        elif self.done:
            assert self.done[step[1] % len(self.done)]() == "AlreadyApplied"
        self.check(before, was)

    def ask(self, order: str, amount: Decimal) -> None:
        self.amounts[order] = amount
        revision = self.revisions[order] = self.revisions.get(order, 0) + 1
        assert self.customers.ask(order, f"{amount}", revision=revision) == "applied"
        self.done.append(lambda: self.customers.ask(order, f"{amount}", revision=revision))

    def erp(self, limit: str | None, is_held: bool, status: str, op: str) -> None:
        self.customers.lsn += 1
        columns = ROW | {"credit_limit": None if limit is None else Decimal(limit), "credit_hold": is_held, "status": status}
        event = row_event(CustomerChanged, self.customers.lsn, op, customer="C1", **columns)
        is_first = ("C1",) not in self.customers.t.customers
        assert self.customers.apply(event) == "applied"
        self.done.append(lambda: self.customers.apply(event))
        self.may_order = op != "d" and not is_held and status == "A"
        if op != "d" or is_first:
            self.limit = columns["credit_limit"]

    def check(self, before: dict[str, str], was: dict[str, Decimal]) -> None:
        now = {order: self.customers.verdict(order) for order in self.amounts}
        account = self.customers.t.accounts.get(("C1",))
        if account is None:
            assert not self.amounts
            return
        granted = sum((Fraction(self.amounts[o]) for o in now if now[o] == "granted"), Fraction(0))
        funds = self.customers.t.funds["C1", ""]
        assert Fraction(funds.open_amount) == sum(map(Fraction, self.amounts.values()))
        assert Fraction(funds.granted_amount) == granted
        assert account.held == sum(v != "granted" for v in now.values())
        for order, verdict in now.items():
            rose = self.amounts[order] > was.get(order, Decimal(0))
            if verdict == "granted" and self.amounts[order] and (before.get(order) != "granted" or rose):
                assert self.may_order, "granted to a customer that may not order"
                assert self.limit is None or granted <= Fraction(self.limit), "granted over the limit"
            elif verdict != "granted":
                assert before.get(order) != "granted" or rose, "what was granted stays granted"
                asked = granted + Fraction(self.amounts[order])
                assert not self.may_order or (self.limit is not None and asked > Fraction(self.limit)), "it fits"


@settings(max_examples=150)
@given(st.lists(ASK | ERP | REPEAT, max_size=40))
def test_credit_is_exact_and_never_overdrawn(steps: list[Any]) -> None:
    book = Book()
    for step in steps:
        book.step(step)


CUSTOMERS = ("C1", "C2", "C3", "C4")
MASTER = st.tuples(
    st.just("erp"),
    st.sampled_from(CUSTOMERS),
    st.sampled_from(["Acme GmbH", "ACME", "Ärger & Co", "Arger", "..."]),
    st.sampled_from([None, "000000", "DE 123-456", "de123456"]),
    st.sampled_from(["A", "A", "A", "I"]),
    st.sampled_from("uuud"),
)
PLACE = st.tuples(
    st.just("crm"),
    st.sampled_from(CUSTOMERS),
    st.integers(1, 9),
    st.sampled_from(["street", "city"]),
    st.sampled_from(["", "x", "y"]),
)


@settings(max_examples=150)
@given(st.lists(MASTER | PLACE, max_size=30))
def test_exceptions_are_open_exactly_for_those_alike(steps: list[Any]) -> None:
    fold = CustomersFold()
    master: dict[str, tuple[str, str | None, bool]] = {}
    facts: dict[tuple[str, str], tuple[int, str]] = {}
    for kind, customer, *said in steps:
        if kind == "erp":
            name, tax_id, status, op = said
            held = master.get(customer)
            fold.erp(customer, op, name=name, tax_id=tax_id, status=status)
            name, tax_id = (held[0], held[1]) if op == "d" and held else (name, tax_id)
            master[customer] = (name, tax_id, op != "d" and status == "A")
        else:
            sequence, field, value = said
            fold.crm(customer, sequence, **{field: value})
            if facts.get((customer, field), (0, ""))[0] < sequence:
                facts[(customer, field)] = (sequence, value)
        alike = _alike(master, facts)
        assert set(fold.open) == {f"duplicate_customer:{likeness}" for likeness in alike}
        for likeness, customers in alike.items():
            sentence = fold.open[f"duplicate_customer:{likeness}"]
            assert {c for c in CUSTOMERS if f"{c} (" in sentence} == customers


def _alike(master: dict[str, Any], facts: dict[tuple[str, str], tuple[int, str]]) -> dict[str, set[str]]:
    """Pair by pair, from the definition."""
    found: dict[str, set[str]] = {}
    for one, other in combinations([c for c in CUSTOMERS if c in master and master[c][2]], 2):
        tax = tax_likeness(master[one][1])
        if tax is not None and tax == tax_likeness(master[other][1]):
            found.setdefault(tax, set()).update((one, other))
        name = name_likeness(master[one][0])
        addresses = {
            address_key({field: v for (c, field), (_, v) in facts.items() if c == customer}) for customer in (one, other)
        }
        if name is not None and name == name_likeness(master[other][0]) and len(addresses - {""}) < 2:
            found.setdefault(name, set()).update((one, other))
    return found
