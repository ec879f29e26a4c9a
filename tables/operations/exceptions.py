"""Exceptions for people: what each kind means, and the rules that keep one row for one cause (inbox keyed by fingerprint)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import Frozen, replace
from schemas.operations import ErpRowsUnread, ExceptionCleared, ExceptionNoted, ExceptionRow, ExceptionWorked
from tables.common.table import Table

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KEPT_EVENTS = 10
KEPT_IDS = 20


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of exception. `severity`: info, warning, critical. `sla_ms`: how soon `owner` should have settled it."""

    severity: str
    owner: str
    sla_ms: int
    action: str


CODES: dict[str, Code] = {
    # promises
    "oversold": Code(
        "critical",
        "inventory planner",
        HOUR_MS,
        "Find supply or another site, or agree a later date with the customers concerned",
    ),
    "negative_balance": Code("critical", "warehouse lead", 4 * HOUR_MS, "Count the item at the site and send the count"),
    "short_pick": Code(
        "warning",
        "warehouse lead",
        4 * HOUR_MS,
        "Count the location; see in the order where the missing units come from now, and tell the customer if they are late",
    ),
    "suspect_item": Code("warning", "inventory planner", 4 * HOUR_MS, "Replay the item's dead letters, or reconcile the item"),
    "waiting": Code("warning", "master data", DAY_MS, "Send what is waited for: the item, the unit or the order named"),
    # master data and ownership
    "unknown_item": Code("warning", "master data", DAY_MS, "Create the item in the ERP, or correct the number at its source"),
    "price_mismatch": Code(
        "warning", "sales", DAY_MS, "Agree the price with the channel, or correct the price list; then release the hold"
    ),
    "price_missing": Code(
        "warning",
        "sales",
        4 * HOUR_MS,
        "Add the price to the customer's price list in the ERP, then release the hold: the price is looked up again",
    ),
    "price_currency": Code(
        "warning",
        "sales",
        DAY_MS,
        "Agree the currency with the channel, or add the price in it to the customer's price list in the ERP; "
        "then release the hold: the price is looked up again",
    ),
    "duplicate_customer": Code("info", "master data", 5 * DAY_MS, "Compare the customers; merge them in the ERP if they are one"),
    "authority_conflict": Code(
        "warning", "integration", DAY_MS, "Correct the system that does not own the fact; the owner's value stands"
    ),
    "erp_history": Code(
        "critical",
        "integration",
        HOUR_MS,
        "See that the snapshot ends. Rows it has not read are gone then: of themselves where the ERP changes something after it;"
        " for a table that is quiet say so with crossdock settle TABLE",
    ),
    "erp_read_again": Code("warning", "integration", DAY_MS, "Reconcile with an extract if the replication slot was lost"),
    "erp_decimals": Code("critical", "integration", HOUR_MS, "Read the table anew, or set decimal.handling.mode to string"),
    "table_truncated": Code("info", "integration", DAY_MS, "See that the ERP's load has written the table again"),
    "unread_table": Code(
        "critical",
        "integration",
        4 * HOUR_MS,
        "Publish partitions under their root's name (publish_via_partition_root); leave copies out of the connector's tables",
    ),
    "unknown_zone": Code(
        "warning",
        "master data",
        DAY_MS,
        "Give the site a zone like America/Chicago in the ERP, or set timezone under [site.<site>] in crossdock.toml",
    ),
    "reconciliation_difference": Code(
        "critical", "inventory planner", 4 * HOUR_MS, "Compare both ledgers from the last agreed day, then adjust the wrong one"
    ),
    # orders
    "credit_currency": Code(
        "warning",
        "credit control",
        4 * HOUR_MS,
        "Have the order placed in one currency, that of the credit limit and of the customer's other open orders; or judge the "
        "credit yourself and release the hold",
    ),
    "credit_hold": Code(
        "warning",
        "credit control",
        4 * HOUR_MS,
        "Settle it with the customer: once the ERP lifts the hold or the limit the order goes on by itself; or "
        "release this order alone",
    ),
    "order_conflict": Code(
        "warning",
        "sales",
        4 * HOUR_MS,
        "Ask the channel which content is right; if it is the new one, send set_qty or cancel_line for each line that differs",
    ),
    "order_restated_older": Code(
        "warning",
        "sales",
        4 * HOUR_MS,
        "Look the order up in its channel; where it differs from here, send set_qty or cancel_line for the line",
    ),
    "duplicate_order": Code(
        "critical",
        "order desk",
        HOUR_MS,
        "Compare their lines: if the ERP split one order, keep its parts, send changes of their lines from the channel and check"
        " their invoices by hand. Else ask the customer: if the order was entered twice, close the copies in the ERP; if more was"
        " ordered, place it as an order with a reference of its own",
    ),
    "change_refused": Code(
        "warning", "sales", 4 * HOUR_MS, "Tell the customer what stays as it is; the sentence says what can be done instead"
    ),
    "line_refused": Code(
        "warning",
        "sales",
        4 * HOUR_MS,
        "Tell the customer why; what is wanted instead is a new order, or set_qty for the line if its quantity was the reason",
    ),
    "over_shipped": Code(
        "warning",
        "warehouse lead",
        DAY_MS,
        "Ask the warehouse what has left; ask for the surplus back, or raise the line in the ERP if the customer keeps it",
    ),
    "shipment_corrected": Code(
        "warning",
        "warehouse lead",
        DAY_MS,
        "Ask the warehouse which quantity left; if these are two parcels, let it number them apart and send them again",
    ),
    "over_returned": Code(
        "warning",
        "warehouse lead",
        DAY_MS,
        "Look at the goods: correct the return's order, line or lot in the warehouse system, or count in what is really there",
    ),
    "substitution": Code(
        "critical",
        "sales",
        4 * HOUR_MS,
        "Ask the customer: if the substitute is welcome, release the hold and it is billed; if not, have it sent back",
    ),
    "credit_refused": Code(
        "critical",
        "billing",
        4 * HOUR_MS,
        "Correct what the ERP refuses, then release the hold credit_refused: it is asked again",
    ),
    "invoice_before_shipment": Code(
        "critical",
        "billing",
        DAY_MS,
        "Ask the warehouse for the shipment's confirmation; if nothing has left, void the invoice in the ERP",
    ),
    "late_milestone": Code("warning", "order desk", 4 * HOUR_MS, "See in the order's trace what it waited for"),
    "erp_refused": Code("warning", "order desk", HOUR_MS, "Correct what the ERP refuses, then release the hold to post again"),
    "wms_refused": Code(
        "warning", "warehouse lead", HOUR_MS, "Correct what the warehouse system refuses, then release the hold: it is sent again"
    ),
    "erp_hold": Code("warning", "order desk", 4 * HOUR_MS, "Take the order off hold in the ERP, or release the hold here"),
    "erp_deleted": Code(
        "critical",
        "order desk",
        HOUR_MS,
        "Ask who deleted it and why: release the hold to have it in the ERP again, or have its channel cancel it",
    ),
    "invoice_refused": Code(
        "critical",
        "billing",
        4 * HOUR_MS,
        "Correct what the ERP refuses, then release the hold invoice_refused: it is asked again",
    ),
    "not_billable": Code(
        "warning",
        "billing",
        DAY_MS,
        "Ask for the surplus back, or raise the line in the ERP to what the customer keeps: it is billed then",
    ),
    "backorder_undated": Code(
        "warning",
        "inventory planner",
        DAY_MS,
        "Order supply, or offer the customer another item or a smaller quantity",
    ),
    "late_backorder": Code("warning", "inventory planner", DAY_MS, "Ask the supplier; agree a later day with the customer"),
    "late_check": Code("warning", "order desk", HOUR_MS, "See what the order waits for: its item, its customer, its prices"),
    "late_release": Code("warning", "warehouse lead", 4 * HOUR_MS, "Ask the warehouse whether it has the release"),
    "late_invoice": Code("warning", "billing", DAY_MS, "See in the ERP why the invoice has not been posted"),
    "late_acknowledgement": Code(
        "warning",
        "order desk",
        HOUR_MS,
        "Look for the order in the ERP: if it is there, see that its change feed runs; if not, see what its endpoint answered",
    ),
    "late_shipment_confirmation": Code("warning", "warehouse lead", 4 * HOUR_MS, "Ask the warehouse whether the order has left"),
    # deliveries and feeds
    "endpoint_down": Code("critical", "integration", HOUR_MS, "Bring the system back; what waits for it is sent by itself then"),
    "obligation_exhausted": Code(
        "critical", "integration", 4 * HOUR_MS, "Read the last answer, correct its cause, send it again"
    ),
    "obligation_unsendable": Code(
        "critical",
        "integration",
        4 * HOUR_MS,
        "See what cannot be sent. A reference that no address can hold: have the order placed again under another one. "
        "Anything else is crossdock's: have it mended, then replay this exception",
    ),
    "file_rejected": Code(
        "warning", "integration", 4 * HOUR_MS, "Correct the file as its report says and drop it again under the same name"
    ),
    "folder_unreadable": Code(
        "critical",
        "integration",
        HOUR_MS,
        "Mount the folder again, or give the user crossdock runs as the right to read and write it; its files are taken then",
    ),
    "file_time": Code("info", "integration", DAY_MS, "Set the clock of the system that writes the folder's files"),
    "clock_step": Code(
        "critical",
        "operations",
        HOUR_MS,
        "Look at the machine's clock (timedatectl). If it is wrong, set it right: nothing else is to be done. "
        "If it is right, say so: crossdock clock --confirm",
    ),
    "sequence_gap": Code("warning", "integration", HOUR_MS, "Ask the source to send the missing messages again"),
    "halted": Code(
        "critical",
        "integration",
        HOUR_MS,
        "Report the defect; set the record aside with crossdock skip (the sentence has it whole), and the partition goes on",
    ),
    "source_paused": Code(
        "critical",
        "integration",
        HOUR_MS,
        "Correct what the dead letters have in common, then have it read on with crossdock resume (the sentence says whom)",
    ),
    "unpublished": Code(
        "critical", "integration", HOUR_MS, "Report the defect; until it is corrected, do not rely on what is published of this"
    ),
    "sequence_reused": Code(
        "critical", "integration", HOUR_MS, "Let each warehouse name itself in `instance`, or number its messages each by its own"
    ),
    "dead_letter": Code("warning", "integration", DAY_MS, "Correct the message or its source, then replay it"),
}
OTHER = Code("warning", "operations", DAY_MS, "Read the sentence and the events behind it")


class ExceptionRecord(Frozen, frozen=True):
    """An exception as it stands (see `schemas.operations.ExceptionRow`). `ids`: the last events applied, of every type."""

    code: str
    sentence: str
    item: str | None
    order_id: str | None
    state: str
    count: int
    first_at_ms: int
    last_at_ms: int
    events: tuple[str, ...]
    ids: tuple[str, ...]
    person: str
    note: str


class Unread(Frozen, frozen=True):
    """Rows of a table, in one part of it, that the ERP's new snapshot has not read."""

    rows: int


@dataclass(slots=True)
class ExceptionTables:
    """All tables of the exceptions fold."""

    rows: Table[tuple[str], ExceptionRecord]  # fingerprint
    unread: Table[tuple[str, str, str], Unread]  # fingerprint, the ERP's table, part of it


def exception_noted(t: ExceptionTables, e: ExceptionNoted) -> Iterator[ExceptionRow]:
    """The cause showed: a new row, or one more on its row, which opens again if it was closed."""
    row = t.rows.get((e.fingerprint,))
    own = f"noted {e.event_id}"
    if row is None:
        t.rows[(e.fingerprint,)] = ExceptionRecord(
            code=e.code,
            sentence=e.sentence,
            item=e.item,
            order_id=e.order_id,
            state="open",
            count=1,
            first_at_ms=e.occurred_at_ms,
            last_at_ms=e.occurred_at_ms,
            events=(e.event_id,),
            ids=(own,),
            person="",
            note="",
        )
        return iter(())
    is_open = row.state in ("open", "assigned")
    t.rows[(e.fingerprint,)] = replace(
        row,
        code=e.code,
        sentence=e.sentence,
        item=e.item,
        order_id=e.order_id,
        state=row.state if is_open else "open",
        person=row.person if is_open else "",
        count=row.count + 1,
        first_at_ms=min(row.first_at_ms, e.occurred_at_ms),
        last_at_ms=max(row.last_at_ms, e.occurred_at_ms),
        events=(*row.events, e.event_id)[-KEPT_EVENTS:],
        ids=_with(row, own),
    )
    return iter(())


def exception_cleared(t: ExceptionTables, e: ExceptionCleared) -> Iterator[ExceptionRow]:
    """The cause is gone: the row closes by itself. What was never noted, or is closed, stays as it is."""
    row = t.rows.get((e.fingerprint,))
    if row is None:
        raise AlreadyApplied
    ids = _with(row, f"cleared {e.event_id}")
    state = "cleared" if row.state in ("open", "assigned") else row.state
    t.rows[(e.fingerprint,)] = replace(row, state=state, last_at_ms=max(row.last_at_ms, e.occurred_at_ms), ids=ids)
    return iter(())


def exception_worked(t: ExceptionTables, e: ExceptionWorked) -> Iterator[ExceptionRow]:
    """A person took it or settled it. Raises `Refused` for what cannot be done, saying why."""
    row = t.rows.get((e.fingerprint,))
    if row is None:
        raise Refused(f"there is no exception {e.fingerprint!r}", hint="list the exceptions to see their fingerprints")
    ids = _with(row, f"worked {e.event_id}")
    if e.action not in ("assign", "resolve"):
        raise Refused(f"action {e.action!r} is not known", hint="send assign or resolve")
    if row.state in ("resolved", "cleared"):
        raise Refused(f"exception {e.fingerprint!r} is {row.state} already", hint="it opens again by itself if its cause returns")
    if e.action == "assign" and not e.person:
        raise Refused("person is empty", hint="name who takes the exception")
    if e.action == "assign":
        row = replace(row, state="assigned", person=e.person)
    else:
        row = replace(row, state="resolved", person=e.person or row.person)
    t.rows[(e.fingerprint,)] = replace(row, note=e.note or row.note, ids=ids)
    return iter(())


def erp_rows_unread(t: ExceptionTables, e: ErpRowsUnread) -> Iterator[Any]:
    """Keep how many rows of a table are unread: the exception about the snapshot says it."""
    key = (e.fingerprint, e.table, e.place)
    row = Unread(e.rows)
    if t.unread.get(key) == row:
        raise AlreadyApplied
    t.unread[key] = row
    return iter(())


def _with_unread(t: ExceptionTables, fingerprint: str, sentence: str) -> str:
    counts: dict[str, int] = {}
    for (_, table, _), row in t.unread.under(fingerprint):
        counts[table] = counts.get(table, 0) + row.rows
    if not counts:
        return sentence
    parts = [f"{rows:,} of {table}" for table, rows in counts.items() if rows]
    found = f"Rows not read yet: {', '.join(parts)}" if parts else "Every row was read, or is gone, by now"
    return f"{sentence}. {found}"


def exception_row(t: ExceptionTables, fingerprint: str, version: int) -> ExceptionRow | None:
    """The exception as people see it, with what its kind says: severity, owner, SLA, suggested action."""
    row = t.rows.get((fingerprint,))
    if row is None:
        return None
    code = CODES.get(row.code, OTHER)
    return ExceptionRow(
        fingerprint=fingerprint,
        version=version,
        code=row.code,
        severity=code.severity,
        sentence=_with_unread(t, fingerprint, row.sentence) if row.code == "erp_history" else row.sentence,
        item=row.item,
        order_id=row.order_id,
        owner=code.owner,
        sla_ms=code.sla_ms,
        action=code.action,
        state=row.state,
        count=row.count,
        first_at_ms=row.first_at_ms,
        last_at_ms=row.last_at_ms,
        events=list(row.events),
        person=row.person,
        note=row.note,
    )


def _with(row: ExceptionRecord, own: str) -> tuple[str, ...]:
    """The ids remembered, with this one. Raises `AlreadyApplied` if it is among them."""
    if own in row.ids:
        raise AlreadyApplied
    return (*row.ids, own)[-KEPT_IDS:]
