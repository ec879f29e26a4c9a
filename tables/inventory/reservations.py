"""Soft reservations: a channel holds units for a while. Decided here, so that nobody is promised them twice.

A request is answered once: the same key with the same body gets the same answer again, with another body 422. Answers carry
the HTTP status and a JSON body with quantities in base units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from schemas.base import Event
from schemas.errors import BadMessage, Refused
from schemas.frozen import replace
from schemas.inventory import ReleaseReservation, ReserveStock
from schemas.near import nearest
from schemas.operations import Reply
from schemas.quantity import show
from tables.common.calendars import to_date
from tables.common.policy import Policy
from tables.inventory.allocation import candidates, channel_room, choose, review
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, is_known_site, known_item
from tables.inventory.state import ON_HOLD, AnsweredRequest, HeldPart, Holding, Item, PromiseTables, Reservation
from tables.inventory.units import to_base

HELD = "held"
MOST_SITES = 1_000  # that what was meant is looked for among


def reserve_stock(p: Policy, t: PromiseTables, e: ReserveStock) -> Iterator[PromiseEmit]:
    """Hold units that can be promised today, at as few sites as can be, or say what can be promised."""
    ledger = ItemLedger(p, t, e.item, e)
    if (seen := t.requests.get((e.item, e.request_id))) is not None:
        yield _again(e.request_id, e.body_hash, seen)
        return
    item = known_item(t, e.item)
    if item is None:
        is_deleted = (e.item,) in t.items
        detail = f"item {e.item} is no longer in the ERP's item master" if is_deleted else f"the ERP has not sent item {e.item}"
        yield _answered(ledger, e.request_id, e.body_hash, 404, _problem("Unknown item", 404, detail))
    elif e.site is not None and not is_known_site(t, e.site):
        near = nearest(e.site, [key[0] for key, site in islice(t.sites.under(), MOST_SITES) if not site.is_deleted])
        meant = f": did you mean {near}?" if near is not None else ""
        problem = _problem("Unknown site", 404, f"the ERP has not sent site {e.site}{meant}")
        yield _answered(ledger, e.request_id, e.body_hash, 404, problem)
    else:
        yield _decide(ledger, item, e)
    yield from ledger.close(f"reservation {e.reservation_id} of {e.channel}")


def _decide(ledger: ItemLedger, item: Item, e: ReserveStock) -> Reply:
    try:
        qty = to_base(item, e.qty_milli, e.uom)
        if qty <= 0:
            raise Refused(f"qty {show(qty)} is not positive", hint="reserve more than nothing")
        _check_limits(ledger, e, qty)
    except BadMessage as error:
        return _answered(ledger, e.request_id, e.body_hash, 422, _problem("Cannot reserve", 422, f"{error.reason}; {error.hint}"))
    if item.status == ON_HOLD:
        return _answered(ledger, e.request_id, e.body_hash, 409, _on_hold(item))
    safety = item.safety_stock_milli
    sites = [site for site in candidates(ledger, None, e.channel) if e.site in (None, site)]
    can = ledger.free(sites, safety)
    free = [(site, units) for site in sites if (units := can.at(site)) > 0]
    room = channel_room(ledger, e.channel, sites, can)
    most = can.promise(sites)
    if room is not None:
        most = min(most, room)
    if most < qty:
        return _answered(ledger, e.request_id, e.body_hash, 409, _too_much(item, e, most, free))
    row = _hold(ledger, e, qty, free)
    body = _body(e.item, e.reservation_id, row)
    return _answered(ledger, e.request_id, e.body_hash, 201, body, e.reservation_id, row.expires_at_ms)


def _check_limits(ledger: ItemLedger, e: ReserveStock, qty: int) -> None:
    """Raises `Refused` for more than the channel may hold of an item, or for longer."""
    limits = ledger.policy.channel(e.channel)
    current = ledger.tables.holdings.get((e.item, e.channel)) or Holding(0, 0)
    if e.ttl_ms > limits.hold_ms:
        raise Refused(
            f"{e.ttl_ms // 1000} s is longer than {e.channel} may hold units ({limits.hold_ms // 1000} s)",
            hint="hold them for a shorter time, and again if they are still wanted",
        )
    if current.count >= limits.hold_count:
        raise Refused(
            f"{e.channel} has {current.count} reservations of {e.item} alive, as many as it may",
            hint="release some, or let them expire",
        )
    if limits.hold_milli is not None and current.qty_milli + qty > limits.hold_milli:
        raise Refused(
            f"{e.channel} holds {show(current.qty_milli)} of {e.item} and may hold {show(limits.hold_milli)} at once",
            hint="release some, or let them expire",
        )


def _hold(ledger: ItemLedger, e: ReserveStock, qty: int, free: list[tuple[str, int]]) -> Reservation:
    """Book the units, from the fewest sites that have them, and their end."""
    parts = tuple([HeldPart(part.site, ledger.today(part.site), part.qty_milli) for part in choose(free, qty)])
    for part in parts:
        ledger.hold(part.site, part.day, e.channel, part.qty_milli)
    until = e.recorded_at_ms + e.ttl_ms
    ledger.deadline(until, "reservation", e.reservation_id)
    row = Reservation(e.request_id, e.channel, qty, parts, until, HELD)
    ledger.tables.reservations[(e.item, e.reservation_id)] = row
    _count(ledger, e.channel, 1, qty)
    return row


def _count(ledger: ItemLedger, channel: str, more: int, qty: int) -> None:
    """Keep what the channel holds of the item."""
    key = (ledger.item, channel)
    current = ledger.tables.holdings.get(key) or Holding(0, 0)
    left = Holding(current.count + more, current.qty_milli + qty)
    if left.count:
        ledger.tables.holdings[key] = left
    else:
        del ledger.tables.holdings[key]


def _too_much(item: Item, e: ReserveStock, most: int, free: list[tuple[str, int]]) -> str:
    """`available` is what the same request would be granted; `sites` is where there is any."""
    most_first = sorted(free, key=lambda s: (-s[1], s[0]))
    sites = ",".join(f'{{"site":{json.dumps(site)},"available":{show(min(units, most))}}}' for site, units in most_first)
    asked = f"{show(e.qty_milli)} {e.uom or item.base_uom} of {item.item} were asked for"
    detail = f"{asked}; {show(most)} {item.base_uom} can be held{'' if e.site is None else f' at {e.site}'}"
    return (
        f'{{"type":"about:blank","title":"Not available","status":409,"detail":{json.dumps(detail)},'
        f'"available":{show(most)},"sites":[{sites}]}}'
    )


def release_reservation(p: Policy, t: PromiseTables, e: ReleaseReservation) -> Iterator[PromiseEmit]:
    """Give a hold back. Releasing one that has ended already changes nothing and says so."""
    ledger = ItemLedger(p, t, e.item, e)
    if (seen := t.requests.get((e.item, e.request_id))) is not None:
        yield _again(e.request_id, e.reservation_id, seen)
        return
    row = t.reservations.get((e.item, e.reservation_id))
    if row is None:
        body = _problem(
            "Unknown reservation", 404, f"no reservation {e.reservation_id}, or it was forgotten a while after its end"
        )
        yield _answered(ledger, e.request_id, e.reservation_id, 404, body)
    else:
        if row.state == HELD:
            row = _end(ledger, e.reservation_id, row, "released")
        yield _answered(ledger, e.request_id, e.reservation_id, 200, _body(e.item, e.reservation_id, row))
    item = known_item(t, e.item)
    if item is not None:
        yield from review(ledger, item)
    yield from ledger.close(f"reservation {e.reservation_id} released")


def expire(ledger: ItemLedger, reservation_id: str) -> None:
    """The hold's time is over."""
    row = ledger.tables.reservations.get((ledger.item, reservation_id))
    if row is not None and row.state == HELD:
        _end(ledger, reservation_id, row, "expired")


def forget(ledger: ItemLedger, request_id: str) -> None:
    """The request may come again as a new one, and the reservation it was granted, which has ended by now, is dropped."""
    t = ledger.tables
    request = t.requests.get((ledger.item, request_id))
    if request is None:
        return
    del t.requests[(ledger.item, request_id)]
    if request.reservation_id:
        del t.reservations[(ledger.item, request.reservation_id)]


def _end(ledger: ItemLedger, reservation_id: str, row: Reservation, state: str) -> Reservation:
    for part in row.parts:
        ledger.hold(part.site, part.day, row.channel, -part.qty_milli)
    _count(ledger, row.channel, -1, -row.qty_milli)
    ended = replace(row, state=state)
    ledger.tables.reservations[(ledger.item, reservation_id)] = ended
    return ended


def _again(request_id: str, body_hash: str, seen: AnsweredRequest) -> Reply:
    if seen.body_hash == body_hash:
        return Reply(request_id=request_id, status=seen.status, body=seen.body)
    detail = "this Idempotency-Key was used for another request; use a new key for a new request"
    return Reply(request_id=request_id, status=422, body=_problem("Idempotency-Key reused", 422, detail))


def _answered(
    ledger: ItemLedger, request_id: str, body_hash: str, status: int, body: str, granted: str = "", until_ms: int = 0
) -> Reply:
    """Remember the answer for as long as the request may be repeated, and give it. `granted`: a reservation, alive `until_ms`."""
    event: Event = ledger.event
    ledger.tables.requests[(ledger.item, request_id)] = AnsweredRequest(granted, body_hash, status, body)
    ledger.deadline(max(event.recorded_at_ms, until_ms) + ledger.policy.request_memory_ms, "request", request_id)
    return Reply(request_id=request_id, status=status, body=body)


def _body(item: str, reservation_id: str, row: Reservation) -> str:
    """`site` and `day` are those of the units at one site; of several sites, none and the last day."""
    site = row.parts[0].site if len(row.parts) == 1 else None
    day = max([part.day for part in row.parts])
    facts = {"reservation_id": reservation_id, "item": item, "site": site, "channel": row.channel, "state": row.state}
    sites = ", ".join([f'{{"site": {json.dumps(part.site)}, "qty": {show(part.qty_milli)}}}' for part in row.parts])
    return (
        f'{json.dumps(facts)[:-1]}, "qty": {show(row.qty_milli)}, "sites": [{sites}], "day": "{to_date(day)}",'
        f' "expires_at_ms": {row.expires_at_ms}}}'
    )


def _on_hold(item: Item) -> str:
    detail = f"item {item.item} is on hold in the ERP, so nothing of it is promised"
    return json.dumps(
        {"type": "about:blank", "title": "Not available", "status": 409, "detail": detail, "available": 0, "sites": []}
    )


def _problem(title: str, status: int, detail: str) -> str:
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
