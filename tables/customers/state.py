"""The customers fold's state: the ERP's customers, what the CRM says of them, the credit of their orders, and who is alike."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from schemas.frozen import Frozen
from tables.common.cdc_tables import CdcTable
from tables.common.row_version import Version
from tables.common.table import Table

ACTIVE = "A"


class Customer(Frozen, frozen=True):
    """The customer master's row (see `schemas.customers.CustomerChanged`). A deleted customer keeps its last facts."""

    version: Version
    is_deleted: bool
    name: str
    tax_id: str | None
    email: str | None
    credit_limit: Decimal | None
    credit_hold: bool
    terms: str
    price_list: str
    status: str
    extra: dict[str, str]
    credit_currency: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it may order at all."""
        return not self.is_deleted and self.status.strip() == ACTIVE


class Contact(Frozen, frozen=True):
    """What the CRM says of a customer in a field that is its own to say; "" says there is none. `position`: its sequence."""

    value: str
    position: int
    at_ms: int


class FieldConflict(Frozen, frozen=True):
    """What the CRM says in a field the ERP owns: never applied. `told`: the sentence of the conflict that is open, or ""."""

    value: str
    position: int
    at_ms: int
    told: str


class Account(Frozen, frozen=True):
    """A customer's orders in numbers. `held`: how many are held; `asked`: how many orders have asked for credit so far."""

    held: int
    asked: int


class CreditDecision(Frozen, frozen=True):
    """What an order was last told. `place`: its age among the customer's orders; `reason` and `sentence` are "" if granted.

    A closed order asks for nothing; one that is opened again is judged anew.
    """

    revision: int
    amount: Decimal
    is_granted: bool
    reason: str
    sentence: str
    terms: str
    price_list: str
    answer: int
    place: int
    is_closed: bool = False
    currency: str = ""
    is_released: bool = False


class Funds(Frozen, frozen=True):
    """A customer's orders in one currency, in sums. `open_amount`: of all that are open; `granted_amount`: of those that go on.

    `orders`: how many are open; `counted`: how many go on, have another amount than 0, and were not released by a person.
    """

    open_amount: Decimal
    granted_amount: Decimal
    orders: int
    counted: int


class QueuedOrder(Frozen, frozen=True):
    """A held order in the queue of its customer."""

    amount: Decimal


class Likenesses(Frozen, frozen=True):
    """The likenesses a customer has, as last told; `notes` counts what was told."""

    name: str
    address: str
    likenesses: tuple[str, ...]
    notes: int


class LikenessMember(Frozen, frozen=True):
    """A customer's part in a likeness, by the newest note; gone ones stay, to tell a repeated note."""

    position: int
    name: str
    address: str
    is_gone: bool


class LikenessAddress(Frozen, frozen=True):
    """A customer that has the likeness at an address (the key says it all)."""

    name: str


class SharedAddress(Frozen, frozen=True):
    """So many customers, two or more, have the likeness at one address."""

    customers: int


class LikenessGroup(Frozen, frozen=True):
    """All customers of a likeness: how many, how many at no known address, how many where others are too.

    `told`: the sentence of the exception that is open, or "".
    """

    customers: int
    nowhere: int
    crowded: int
    told: str


@dataclass(slots=True)
class CustomerTables:
    """All tables of the customers fold. The first part of each key is the customer, or the likeness."""

    erp_tables: Table[tuple[str], CdcTable]  # the ERP's table
    customers: Table[tuple[str], Customer]  # customer
    contacts: Table[tuple[str, str], Contact]  # customer, field
    proposals: Table[tuple[str, str], FieldConflict]  # customer, field
    accounts: Table[tuple[str], Account]  # customer
    credits: Table[tuple[str, str], CreditDecision]  # customer, order id
    waiting: Table[tuple[str, int, str], QueuedOrder]  # customer, place, order id
    funds: Table[tuple[str, str], Funds]  # customer, currency; while an order in it is open
    # customer, currency, whole units of the amount, place, order id
    waiting_by_amount: Table[tuple[str, str, int, int, str], QueuedOrder]
    alikes: Table[tuple[str], Likenesses]  # customer
    members: Table[tuple[str, str], LikenessMember]  # likeness, customer
    places: Table[tuple[str, str, str], LikenessAddress]  # likeness, address, customer
    crowds: Table[tuple[str, str], SharedAddress]  # likeness, address
    groups: Table[tuple[str], LikenessGroup]  # likeness
