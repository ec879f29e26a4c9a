"""What can be wrong with an order line for as long as its quantities stand so."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Event
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.quantity import show
from tables.common.raise_exception import cleared, note
from tables.orders.lifecycle import State
from tables.orders.state import Line


def conditions(order_id: str, number: int, old: Line, new: Line, cause: Event) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """Exceptions that stand as long as a line is so: noted when it becomes so, cleared when it no longer is."""
    was, now = _wrong(old), _wrong(new)
    for code in sorted(was | now):
        fingerprint = f"{code}:{order_id}:{number}"
        if code not in now:
            yield cleared(cause, fingerprint)
        elif code not in was:
            sentence = _SENTENCES[code].format(
                line=number,
                order=order_id,
                ordered=show(new.ordered_milli),
                shipped=show(new.shipped_milli),
                invoiced=show(new.invoiced_milli),
                item=new.item,
                reason=new.reason,
            )
            yield note(cause, code, fingerprint, sentence, item=new.item, order_id=order_id)


_SENTENCES = {
    "over_shipped": "Line {line} of order {order}: {shipped} of {item} shipped, but {ordered} were ordered.",
    "invoice_before_shipment": "Line {line} of order {order}: {invoiced} of {item} invoiced, but only {shipped} shipped.",
    "line_refused": "Line {line} of order {order} for {item} was refused: {reason}",
}


def _wrong(line: Line) -> frozenset[str]:
    found = set()
    if line.shipped_milli > line.ordered_milli:
        found.add("over_shipped")
    if line.invoiced_milli > line.shipped_milli:
        found.add("invoice_before_shipment")
    if line.state is State.REFUSED:
        found.add("line_refused")
    return frozenset(found)
