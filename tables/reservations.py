"""Soft reservations: a channel holds units for a while. Decided here, so that nobody is promised them twice.

A request is answered once: the same key with the same body gets the same answer again, with another body 422. Answers carry
the HTTP status and a JSON body with quantities in base units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from schemas.base import Event
from schemas.errors import BadMessage, Refused
from schemas.frozen import replace
from schemas.inventory import ReleaseReservation, ReserveStock
from schemas.operations import Reply
from schemas.quantity import show
from tables.allocation import candidates, channel_room, review
from tables.book import Book, known_item
from tables.calendars import to_date
from tables.policy import Policy
from tables.promise import Item, PromiseTables, Request, Reservation
from tables.units import to_base


def reserve_stock(p: Policy, t: PromiseTables, e: ReserveStock) -> Iterator[Any]:
    """Hold units at one site that can promise them today, or say what can be promised."""
    book = Book(p, t, e.item, e)
    if (seen := t.requests.get((e.item, e.request_id))) is not None:
        yield _again(e.request_id, e.body_hash, seen)
        return
    item = known_item(t, e.item)
    if item is None:
        yield _answered(
            book, e.request_id, e.body_hash, 404, _problem("Unknown item", 404, f"the ERP has not sent item {e.item}")
        )
    else:
        yield _decide(book, item, e)
    yield from book.close(f"reservation {e.reservation_id} of {e.channel}")


def _decide(book: Book, item: Item, e: ReserveStock) -> Reply:
    try:
        qty = to_base(item, e.qty_milli, e.uom)
        if qty <= 0:
            raise Refused(f"qty {show(qty)} is not positive", hint="reserve more than nothing")
    except BadMessage as error:
        return _answered(book, e.request_id, e.body_hash, 422, _problem("Cannot reserve", 422, f"{error.reason}; {error.hint}"))
    safety = item.safety_stock_milli
    sites = candidates(book, e.site, e.channel)
    free = sorted(((max(0, book.available(site, safety)), site) for site in sites), key=lambda s: (-s[0], s[1]))
    room = channel_room(book, e.channel, sites, safety)
    most, site = free[0] if free else (0, e.site or "")
    if room is not None:
        most = min(most, room)
    if most < qty:
        return _answered(book, e.request_id, e.body_hash, 409, _too_much(item, e, most, free, room))
    day = book.today(site)
    until = e.recorded_at_ms + e.ttl_ms
    book.hold(site, day, e.channel, qty)
    book.deadline(until, "reservation", e.reservation_id)
    row = Reservation(e.request_id, e.channel, site, qty, day, until, "held")
    book.tables.reservations[(e.item, e.reservation_id)] = row
    return _answered(book, e.request_id, e.body_hash, 201, _body(e.item, e.reservation_id, row))


def _too_much(item: Item, e: ReserveStock, most: int, free: list[tuple[int, str]], room: int | None) -> str:
    total = sum(units for units, _ in free)
    total = total if room is None else min(total, room)
    sites = ",".join(f'{{"site":{json.dumps(site)},"available":{show(units)}}}' for units, site in free)
    asked = f"{show(e.qty_milli)} {e.uom or item.base_uom} of {item.item} were asked for"
    detail = f"{asked}; {show(most)} {item.base_uom} can be held at one site, {show(total)} in all"
    return (
        f'{{"type":"about:blank","title":"Not available","status":409,"detail":{json.dumps(detail)},'
        f'"available":{show(most)},"available_in_all":{show(total)},"sites":[{sites}]}}'
    )


def release_reservation(p: Policy, t: PromiseTables, e: ReleaseReservation) -> Iterator[Any]:
    """Give a hold back. Releasing one that has ended already changes nothing and says so."""
    book = Book(p, t, e.item, e)
    if (seen := t.requests.get((e.item, e.request_id))) is not None:
        yield _again(e.request_id, e.reservation_id, seen)
        return
    row = t.reservations.get((e.item, e.reservation_id))
    if row is None:
        body = _problem(
            "Unknown reservation", 404, f"no reservation {e.reservation_id}, or it was forgotten a while after its end"
        )
        yield _answered(book, e.request_id, e.reservation_id, 404, body)
    else:
        if row.state == "held":
            row = _end(book, e.reservation_id, row, "released")
        yield _answered(book, e.request_id, e.reservation_id, 200, _body(e.item, e.reservation_id, row))
    item = known_item(t, e.item)
    if item is not None:
        yield from review(book, item)
    yield from book.close(f"reservation {e.reservation_id} released")


def expire(book: Book, reservation_id: str) -> None:
    """The hold's time is over."""
    row = book.tables.reservations.get((book.item, reservation_id))
    if row is not None and row.state == "held":
        _end(book, reservation_id, row, "expired")


def forget(book: Book, request_id: str) -> None:
    """The request may come again as a new one, and its ended reservation is dropped."""
    t = book.tables
    if (book.item, request_id) in t.requests:
        del t.requests[(book.item, request_id)]
    for key, row in list(t.reservations.under(book.item)):
        if row.request_id == request_id and row.state != "held":
            del t.reservations[key]


def _end(book: Book, reservation_id: str, row: Reservation, state: str) -> Reservation:
    book.hold(row.site, row.day, row.channel, -row.qty_milli)
    ended = replace(row, state=state)
    book.tables.reservations[(book.item, reservation_id)] = ended
    return ended


def _again(request_id: str, body_hash: str, seen: Request) -> Reply:
    if seen.body_hash == body_hash:
        return Reply(request_id=request_id, status=seen.status, body=seen.body)
    detail = "this Idempotency-Key was used for another request; use a new key for a new request"
    return Reply(request_id=request_id, status=422, body=_problem("Idempotency-Key reused", 422, detail))


def _answered(book: Book, request_id: str, body_hash: str, status: int, body: str) -> Reply:
    """Remember the answer for as long as the request may be repeated, and give it."""
    event: Event = book.event
    book.tables.requests[(book.item, request_id)] = Request(body_hash, status, body)
    book.deadline(event.recorded_at_ms + book.policy.request_memory_ms, "request", request_id)
    return Reply(request_id=request_id, status=status, body=body)


def _body(item: str, reservation_id: str, row: Reservation) -> str:
    facts = {"reservation_id": reservation_id, "item": item, "site": row.site, "channel": row.channel, "state": row.state}
    text = json.dumps(facts)[:-1]
    return f'{text}, "qty": {show(row.qty_milli)}, "day": "{to_date(row.day)}", "expires_at_ms": {row.expires_at_ms}}}'


def _problem(title: str, status: int, detail: str) -> str:
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
