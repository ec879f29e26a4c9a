"""The formats a channel's messages come in. The door a message came by says which, in a header of its raw record."""

from __future__ import annotations

from collections.abc import Callable

import connectors.channels.marketplace.translate
import connectors.channels.orders.translate
import connectors.channels.webshop.translate
import connectors.files.orders_csv.translate
from schemas.errors import BadMessage
from schemas.records import Headers, Record, Translation

HEADER = "crossdock.format"
ORDERS, WEBSHOP, MARKETPLACE, CSV = "orders", "webshop", "marketplace", "csv"
FORMATS: dict[str, Callable[[Record], Translation]] = {
    ORDERS: connectors.channels.orders.translate.translate,
    WEBSHOP: connectors.channels.webshop.translate.translate,
    MARKETPLACE: connectors.channels.marketplace.translate.translate,
    CSV: connectors.files.orders_csv.translate.translate,
}


def headers_of(name: str) -> Headers:
    """What marks a raw record as being in a format. Our own (`orders`) needs no mark."""
    return () if name == ORDERS else ((HEADER, name.encode()),)


def translate(record: Record) -> Translation:
    """What a channel's message means, by its format. Raises `BadMessage`."""
    name = next((value.decode(errors="replace") for header, value in record.headers if header == HEADER), ORDERS)
    translate_it = FORMATS.get(name)
    if translate_it is None:
        raise BadMessage(f"format {name[:100]!r} is not known", hint=f"mark it as one of {', '.join(FORMATS)}")
    return translate_it(record)
