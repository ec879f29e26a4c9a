"""Duplicate customers: found and told, with a proposal; never merged.

A customer tells each likeness it has (`CustomerLikeness`, on the likeness's own key), and when it has it no more. Two of one
tax id are alike; two of one name are, unless both have an address and it is another. There is one exception a likeness, open
while any two are alike; it names a few of them and counts the rest. Customers that may not order (merged ones, as a rule) are
like nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from schemas.base import Event
from schemas.customers import CustomerLikeness
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.topics import CUSTOMERS
from tables.common.raise_exception import cleared, note
from tables.customers.emits import CustomerEmit
from tables.customers.matching import address_key, name_likeness, tax_likeness
from tables.customers.state import (
    Customer,
    CustomerTables,
    LikenessAddress,
    Likenesses,
    LikenessGroup,
    LikenessMember,
    SharedAddress,
)

NAMED = 5
_NOBODY = Likenesses("", "", (), 0)


def note_likenesses(t: CustomerTables, customer: str, cause: Event) -> Iterator[CustomerLikeness]:
    """Say what has changed about the likenesses of a customer, if anything has."""
    current = t.alikes.get((customer,)) or _NOBODY
    row = t.customers.get((customer,))
    now = _likenesses(row)
    name = " ".join(row.name.split()) if row and now else ""
    address = address_key({key[1]: c.value for key, c in t.contacts.under(customer)}) if now else ""
    if (name, address, now) == (current.name, current.address, current.likenesses):
        return
    notes = current.notes
    for likeness in sorted({*current.likenesses, *now}):
        notes += 1
        yield CustomerLikeness(
            event_id=f"alike:{customer}:{notes}",
            source=CUSTOMERS,
            source_position=notes,
            occurred_at_ms=cause.occurred_at_ms,
            recorded_at_ms=cause.recorded_at_ms,
            trace_id=cause.trace_id,
            likeness=likeness,
            customer=customer,
            name=name,
            address=address if likeness.startswith("name:") else "",
            is_gone=likeness not in now,
        )
    t.alikes[(customer,)] = Likenesses(name, address, now, notes)


def _likenesses(row: Customer | None) -> tuple[str, ...]:
    if row is None or not row.is_active:
        return ()
    return tuple(found for found in (tax_likeness(row.tax_id), name_likeness(row.name)) if found is not None)


def customer_likeness(t: CustomerTables, e: CustomerLikeness) -> Iterator[CustomerEmit]:
    """Keep who has the likeness; note or clear the exception about it."""
    current = t.members.get((e.likeness, e.customer))
    if current is not None and e.source_position <= current.position:
        raise AlreadyApplied(f"{e.event_id}: customer {e.customer} has told this, or something newer")
    if current is not None and not current.is_gone:
        _leave(t, e.likeness, e.customer, current.address)
    t.members[(e.likeness, e.customer)] = LikenessMember(e.source_position, e.name, e.address, e.is_gone)
    if not e.is_gone:
        _join(t, e)
    yield from _note(t, e)


def _join(t: CustomerTables, e: CustomerLikeness) -> None:
    before = _customers_at(t, e.likeness, e.address)
    t.places[(e.likeness, e.address, e.customer)] = LikenessAddress(e.name)
    _count(t, e.likeness, e.address, before, before + 1)


def _leave(t: CustomerTables, likeness: str, customer: str, address: str) -> None:
    before = _customers_at(t, likeness, address)
    del t.places[(likeness, address, customer)]
    _count(t, likeness, address, before, before - 1)


def _customers_at(t: CustomerTables, likeness: str, address: str) -> int:
    crowd = t.crowds.get((likeness, address))
    return crowd.customers if crowd else sum(1 for _ in islice(t.places.under(likeness, address), 1))


def _count(t: CustomerTables, likeness: str, address: str, before: int, after: int) -> None:
    """The sums, after a customer came to an address or left it."""
    group = t.groups.get((likeness,)) or LikenessGroup(0, 0, 0, "")
    t.groups[(likeness,)] = replace(
        group,
        customers=group.customers + after - before,
        nowhere=group.nowhere + (after - before if address == "" else 0),
        crowded=group.crowded + (after if after > 1 else 0) - (before if before > 1 else 0),
    )
    if after > 1:
        t.crowds[(likeness, address)] = SharedAddress(after)
    elif before > 1:
        del t.crowds[(likeness, address)]


def _note(t: CustomerTables, e: CustomerLikeness) -> Iterator[CustomerEmit]:
    group = t.groups.get((e.likeness,)) or LikenessGroup(0, 0, 0, "")
    fingerprint = f"duplicate_customer:{e.likeness}"
    sentence = _sentence(t, e.likeness, group)
    if sentence == group.told:
        return
    t.groups[(e.likeness,)] = replace(group, told=sentence)
    if sentence:
        yield note(e, "duplicate_customer", fingerprint, sentence)
    else:
        yield cleared(e, fingerprint)


def _sentence(t: CustomerTables, likeness: str, group: LikenessGroup) -> str:
    """Who is alike and what is proposed; "" if nobody is."""
    alike = group.customers if group.nowhere and group.customers > 1 else group.crowded
    if alike == 0:
        return ""
    named = sorted(islice(_alike(t, likeness, group), NAMED))
    listed = ", ".join(f"{customer} ({name})" for customer, name in named)
    more = f" and {alike - len(named)} more" if alike > len(named) else ""
    kind, _, text = likeness.partition(":")
    by = f"tax id {text}" if kind == "tax" else "name, and no two different addresses are known of them"
    keep, others = named[0][0], "the other" if alike == 2 else "the others"
    return f"Customers {listed}{more} have the same {by}. If they are one, merge {others} into {keep} in the ERP."


def _alike(t: CustomerTables, likeness: str, group: LikenessGroup) -> Iterable[tuple[str, str]]:
    """Customers that are alike, with their names; each once."""
    if group.nowhere:
        return ((key[2], place.name) for key, place in t.places.under(likeness))
    return ((key[2], place.name) for where, _ in t.crowds.under(likeness) for key, place in t.places.under(likeness, where[1]))
