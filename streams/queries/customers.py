"""Customers as the API shows them: rows of the customers fold, put together."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from connectors.api.ports import AuthorityConflict, ContactFact, CurrencyAmount, CustomerView, HeldOrder
from schemas.topics import CUSTOMERS
from streams.queries.table_views import TableView
from tables.customers.state import Account, CreditDecision, Customer, Funds

MOST_HELD, MOST_FACTS = 100, 200


class CustomerReader:
    """`connectors.api.ports.Customers` on committed rows."""

    def __init__(self, tables: TableView) -> None:
        self._tables = tables

    def get(self, customer: str) -> CustomerView | None:
        """The customer, if anybody has said anything of it."""
        row: Customer | None = self._row("customers", customer)
        account: Account | None = self._row("accounts", customer)
        contacts = self._under("contacts", customer, MOST_FACTS)
        proposals = self._under("proposals", customer, MOST_FACTS)
        funds: dict[str, Funds] = {key[1]: row for key, row in self._under("funds", customer, MOST_FACTS)}
        if row is None and account is None and not contacts and not proposals:
            return None
        return CustomerView(
            customer=customer,
            is_known=row is not None,
            erp=row,
            open_amount=_sum(account, [row.open_amount for row in funds.values()]),
            granted_amount=_sum(account, [row.granted_amount for row in funds.values()]),
            amounts=[CurrencyAmount(key, row.open_amount, row.granted_amount) for key, row in funds.items()],
            held=account.held if account else 0,
            held_orders=[self._held(key) for key, _ in self._under("waiting", customer, MOST_HELD)],
            contacts=[ContactFact(key[1], fact.value, fact.at_ms) for key, fact in contacts if fact.value],
            disagreements=[AuthorityConflict(key[1], said.value, said.told, said.at_ms) for key, said in proposals if said.told],
        )

    def _held(self, key: tuple[Any, ...]) -> HeldOrder:
        customer, _, order_id = key
        credit: CreditDecision | None = self._tables.row(f"{CUSTOMERS}.credits", (customer, order_id), customer)
        if credit is None:  # it ended between two reads
            return HeldOrder(order_id, None, "", "")
        return HeldOrder(order_id, credit.amount, credit.reason, credit.sentence)

    def _row(self, table: str, customer: str) -> Any:
        return self._tables.row(f"{CUSTOMERS}.{table}", (customer,), customer)

    def _under(self, table: str, customer: str, most: int) -> list[tuple[tuple[Any, ...], Any]]:
        return self._tables.under(f"{CUSTOMERS}.{table}", (customer,), most)


def _sum(account: Account | None, amounts: list[Decimal]) -> Decimal | None:
    """The amount in the one currency there is; none if there are several, or no order has asked for credit."""
    if account is None or len(amounts) > 1:
        return None
    return amounts[0] if amounts else Decimal(0)
