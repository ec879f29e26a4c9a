"""CRM messages to canonical events."""

from __future__ import annotations

from connectors.crm import wire
from connectors.edge import check_not_ahead, read_counting
from schemas.customers import CustomerProposed
from schemas.records import Record, Translation

SOURCE = "crm"


def translate(record: Record) -> Translation:
    """The event one CRM message means. Raises `BadMessage`."""
    m, unknown = read_counting(wire.ADAPTER, record, lambda _: "customer")
    check_not_ahead(m.changed_at, "changed_at", record)
    return Translation(
        [
            CustomerProposed(
                event_id=f"{SOURCE}:{m.customer}:{m.sequence}",
                source=SOURCE,
                source_position=m.sequence,
                occurred_at_ms=m.changed_at,
                recorded_at_ms=record.timestamp_ms,
                trace_id=record.trace_id,
                customer=m.customer,
                facts=m.facts,
            )
        ],
        unknown=unknown,
    )
