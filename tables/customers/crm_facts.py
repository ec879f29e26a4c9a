"""What the CRM says of customers: contact and address are its own to say and are kept; what the ERP owns is never applied.

A value that contradicts the ERP's is an exception, open until the CRM says what the ERP says, says it no more (""), or the ERP
has come round. Of a customer the ERP has not sent, everything is kept until it does. Fields nobody knows are kept as contact
facts, so that nothing is lost, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice

from schemas.base import Event
from schemas.customers import CustomerProposed
from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import replace
from tables.common.money import shown
from tables.common.raise_exception import cleared, note
from tables.customers.emits import CustomerEmit
from tables.customers.matching import tax_key
from tables.customers.state import Contact, Customer, CustomerTables, FieldConflict

MOST_FIELDS = 100
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def keep_facts(t: CustomerTables, e: CustomerProposed) -> None:
    """Keep each field's newest value. Raises `AlreadyApplied` if there is nothing newer, `Refused` for too many fields."""
    is_news = False
    for field, value in sorted(e.facts.items()):
        key = (e.customer, field)
        is_owned = field in OWNED
        current = t.proposals.get(key) if is_owned else t.contacts.get(key)
        if current is not None and current.position >= e.source_position:
            continue
        is_news = True
        if is_owned:
            told = current.told if isinstance(current, FieldConflict) else ""
            t.proposals[key] = FieldConflict(value, e.source_position, e.occurred_at_ms, told)
        else:
            t.contacts[key] = Contact(value, e.source_position, e.occurred_at_ms)
    if not is_news:
        raise AlreadyApplied(f"{e.event_id}: all it says of customer {e.customer} is known, or something newer")
    if sum(1 for _ in islice(t.contacts.under(e.customer), MOST_FIELDS + 1)) > MOST_FIELDS:
        raise Refused(
            f"customer {e.customer} would have more than {MOST_FIELDS} contact fields",
            hint="send a value under the same name each time; keep other data in the CRM",
        )


def note_conflicts(t: CustomerTables, customer: str, cause: Event) -> Iterator[CustomerEmit]:
    """Note and clear what stands between the CRM and the ERP about a customer."""
    row = t.customers.get((customer,))
    for key, proposal in list(t.proposals.under(customer)):
        sentence = _conflict(customer, row, key[1], proposal.value)
        if sentence == proposal.told:
            continue
        t.proposals[key] = replace(proposal, told=sentence)
        fingerprint = f"authority_conflict:customer:{customer}:{key[1]}"
        yield note(cause, "authority_conflict", fingerprint, sentence) if sentence else cleared(cause, fingerprint)


def _conflict(customer: str, row: Customer | None, field: str, value: str) -> str:
    if row is None or row.is_deleted or value.strip() == "":
        return ""
    held = OWNED[field](row)
    if _agree(field, value, held):
        return ""
    ours = repr(held) if held else "none"
    return (
        f"The CRM says {field} of customer {customer} is {value.strip()!r}; the ERP, which owns it, says {ours}. Nothing changed."
    )


def _agree(field: str, said: str, held: str) -> bool:
    if field == "credit_limit":
        number = _number(said)
        return number is not None and held != "" and number == Decimal(held)
    if field == "credit_hold":
        return said.strip().lower() in (_TRUE if held == "true" else _FALSE)
    if field == "tax_id":
        return tax_key(said) == tax_key(held)
    return said.split() == held.split()


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


OWNED: dict[str, Callable[[Customer], str]] = {
    "name": lambda row: " ".join(row.name.split()),
    "tax_id": lambda row: (row.tax_id or "").strip(),
    "terms": lambda row: row.terms.strip(),
    "price_list": lambda row: row.price_list.strip(),
    "credit_limit": lambda row: "" if row.credit_limit is None else shown(row.credit_limit),
    "credit_hold": lambda row: "true" if row.credit_hold else "false",
    "status": lambda row: row.status.strip(),
}
"""The ERP's fields of a customer, each with the value it has as text."""
