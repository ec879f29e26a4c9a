"""The WMS: keeps stock, picks and ships what is released to it as long as it is not withdrawn, and tells of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from infra.sandbox.master import Master
from infra.sandbox.store import Rows, SandboxStore, due_by, due_key, first_due, joined, next_number
from infra.sandbox.values import (
    MILLI,
    Dice,
    HttpAnswer,
    Name,
    Number,
    RequestRefused,
    answered,
    attempted,
    iso,
    milli,
    plain,
    read,
)

CARRIERS = ("UPS", "FedEx", "DHL", "XPO")


@dataclass(frozen=True, slots=True)
class WmsOptions:
    """`stock_milli`: what each place holds at the start. Mean times: to the floor, to the pick, to the truck, back again.
    Shares of picks: `short`, `substituted` (where allowed), `split` in two. `returned`: share of shipments that partly come back.
    """

    stock_milli: int = 500 * MILLI
    start_ms: int = 500
    pick_ms: int = 1_000
    ship_ms: int = 1_000
    return_ms: int = 20_000
    short: float = 0.03
    substituted: float = 0.05
    split: float = 0.05
    returned: float = 0.02


class Receipt(msgspec.Struct, frozen=True):
    """Goods that came."""

    site: Name
    item: Name
    qty: str


class ReleasedLine(msgspec.Struct, frozen=True):
    """So much of a line to pick at a site."""

    line: Number
    item: Name
    site: Name
    qty: str


class PickRelease(msgspec.Struct, frozen=True):
    """What to pick for an order, in addition to what was released before."""

    order: Name
    lines: list[ReleasedLine]
    substitute: bool = False


class WithdrawnLine(msgspec.Struct, frozen=True):
    """So much of a line not to pick at a site any more."""

    line: Number
    site: Name
    qty: str


class CountRequest(msgspec.Struct, frozen=True):
    """An item to count at a site."""

    site: Name
    item: Name


class Withdrawal(msgspec.Struct, frozen=True):
    """What not to pick any more."""

    order: Name
    lines: list[WithdrawnLine]


class Work(msgspec.Struct, frozen=True):
    """Units of a line still to be picked together. `number` counts releases of lines."""

    number: int
    order: str
    line: int
    site: str
    item: str
    open: int
    substitute: bool
    is_split: bool = False

    @property
    def key(self) -> str:
        """Its key: all work of a line at a site is under one prefix."""
        return joined(self.order, self.line, self.site, self.number)


class PickRecord(msgspec.Struct, frozen=True):
    """All that ever happened to a line at a site: released = withdrawn + picked + short + substituted + still open."""

    released: int = 0
    withdrawn: int = 0
    picked: int = 0
    short: int = 0
    substituted: int = 0
    shipped: int = 0


class WmsJob(msgspec.Struct, frozen=True):
    """Something to do at its time. `what`: start and pick (`key` of work), ship (`key` of order and site), return (`goods`)."""

    what: str
    key: str
    goods: dict[str, Any] | None = None


class SandboxWms:
    """The core. Times are in ms."""

    def __init__(self, store: SandboxStore, master: Master, seed: int, options: WmsOptions | None = None) -> None:
        self._master = master
        self._options = options or WmsOptions()
        self._dice = Dice(seed, "wms")
        self._stock: Rows[int] = store.rows("stock", int)
        self._books: Rows[PickRecord] = store.rows("book", PickRecord)
        self._work: Rows[Work] = store.rows("work", Work)
        self._staged: Rows[int] = store.rows("staged", int)
        self._jobs: Rows[WmsJob] = store.rows("job", WmsJob)
        self._answers: Rows[HttpAnswer] = store.rows("answer", HttpAnswer)
        self._counters: Rows[int] = store.rows("counter", int)
        self._told: Rows[dict[str, Any]] = store.rows("told", dict[str, Any])

    def announce(self, now: int) -> None:
        """Fill the empty warehouse, once, and say what it holds."""
        if self._counters.get("announced"):
            return
        self._counters.put("announced", 1)
        at = iso(self._instant(now))
        for site, item in self._master.places:
            self._stock.put(joined(site, item), self._options.stock_milli)
            self._tell(at, "stock.snapshot", site, item=item, qty=plain(self._options.stock_milli), uom=self._master.items[item])

    def receive(self, body: Any, now: int) -> HttpAnswer:
        """Goods in."""
        return attempted(lambda: self._receive(read(Receipt, body), now))

    def release(self, key: str, body: Any, now: int) -> HttpAnswer:
        """Take units to pick."""
        return answered(self._answers, key, lambda: self._release(read(PickRelease, body), now))

    def withdraw(self, key: str, body: Any) -> HttpAnswer:
        """Give up units, as far as they are not picked; the answer says how many."""
        return answered(self._answers, key, lambda: self._withdraw(read(Withdrawal, body)))

    def count(self, key: str, body: Any, now: int) -> HttpAnswer:
        """Count an item at a site and tell what is there."""
        return answered(self._answers, key, lambda: self._count_stock(read(CountRequest, body), now))

    def advance(self, now: int) -> list[dict[str, Any]]:
        """Work until now; everything there is to tell, in its order, each once."""
        while due := due_by(self._jobs, now):
            for key, job in due:
                self._jobs.remove(key)
                self._do(job, now)
        told = self._told.scan()
        for key, _ in told:
            self._told.remove(key)
        return [message for _, message in told]

    def next_due(self) -> int | None:
        """When there is something to do next, if there is; what is to be told waits for `advance` at any time."""
        return 0 if self._told.scan(limit=1) else first_due(self._jobs)

    def state(self) -> dict[str, Any]:
        """Stock, and what happened to each order's lines, for checks."""
        orders: dict[str, list[dict[str, Any]]] = {}
        for key, book in self._books.scan():
            order, line, site = key.split("\x1f")
            row = {name: plain(qty) for name, qty in msgspec.structs.asdict(book).items()}
            orders.setdefault(order, []).append({"line": int(line), "site": site, **row})
        stock = {key.replace("\x1f", "/"): plain(qty) for key, qty in self._stock.scan()}
        return {"orders": orders, "stock": stock}

    # --- what it is asked

    def _receive(self, asked: Receipt, now: int) -> HttpAnswer:
        self._known(asked.site, asked.item)
        qty = milli(asked.qty)
        if not qty:
            raise RequestRefused("There is nothing to receive.")
        self._move(asked.site, asked.item, qty)
        uom = self._master.items[asked.item]
        self._tell(iso(self._instant(now)), "stock.received", asked.site, item=asked.item, qty=plain(qty), uom=uom)
        return HttpAnswer(200, {})

    def _release(self, asked: PickRelease, now: int) -> HttpAnswer:
        for line in asked.lines:
            self._known(line.site, line.item)
            if not milli(line.qty):
                raise RequestRefused(f"Line {line.line}: there is nothing to pick.")
        if not asked.lines:
            raise RequestRefused("The release has no lines.")
        for line in asked.lines:
            number = next_number(self._counters, "work")
            work = Work(number, asked.order, line.line, line.site, line.item, milli(line.qty), asked.substitute)
            self._work.put(work.key, work)
            self._count(work, released=work.open)
            self._plan("start", work, now, self._options.start_ms)
        return HttpAnswer(202, {})

    def _withdraw(self, asked: Withdrawal) -> HttpAnswer:
        given_back = []
        for line in asked.lines:
            wanted = milli(line.qty)
            left = wanted
            for _, work in reversed(self._work.scan(joined(asked.order, line.line, line.site, ""))):
                taken = min(left, work.open)
                left -= taken
                self._put_work(replace(work, open=work.open - taken))
                self._count(work, withdrawn=taken)
            given_back.append({"line": line.line, "site": line.site, "qty": plain(wanted - left)})
        return HttpAnswer(200, {"withdrawn": given_back})

    def _known(self, site: str, item: str) -> None:
        if site not in self._master.sites:
            raise RequestRefused(f"Site {site!r} is not known.")
        if item not in self._master.items:
            raise RequestRefused(f"Item {item!r} is not known.")

    # --- what it does

    def _do(self, job: WmsJob, now: int) -> None:
        if job.what == "ship":
            self._ship(job.key, now)
            return
        if job.what == "return":
            assert job.goods is not None
            self._tell(iso(self._instant(now)), "return.received", **job.goods)
            return
        work = self._work.get(job.key)
        if work is None:  # withdrawn meanwhile
            return
        if job.what == "start":
            self._tell_of(work, "pick.released", now, qty=plain(work.open))
            self._plan("pick", work, now, self._options.pick_ms)
        else:
            self._pick(work, now)

    def _pick(self, work: Work, now: int) -> None:
        """What is there of what is still wanted: all, a part and the rest later, too little, or something else instead."""
        options, dice = self._options, self._dice
        other = self._other(work) if work.substitute and dice.hits(options.substituted, "other", work.number) else None
        if other is not None:
            self._substitute(work, other, now)
        elif not work.is_split and work.open >= 2 * MILLI and dice.hits(options.split, "split", work.number):
            half = work.open // 2 // MILLI * MILLI
            rest = replace(work, open=work.open - half, is_split=True)
            self._take(replace(work, open=half), now)
            self._put_work(rest)
            self._plan("pick", rest, now, options.pick_ms)
        else:
            self._put_work(replace(work, open=0))
            self._take(work, now)

    def _take(self, work: Work, now: int) -> None:
        """Pick the open units as far as they are there. What is not is struck off the books, and counted if they had it not."""
        held = max(0, self._stock.get(joined(work.site, work.item)) or 0)
        found = min(work.open, held)
        if self._dice.hits(self._options.short, "short", work.number, work.is_split):
            found = min(found, self._dice.of("found", work.number).randrange(work.open) // MILLI * MILLI)
        short = work.open - found
        self._move(work.site, work.item, -min(held, work.open))
        self._count(work, picked=found, short=short)
        if short:
            self._tell_of(work, "pick.short", now, qty=plain(found), qty_short=plain(short))
        else:
            self._tell_of(work, "pick.completed", now, qty=plain(found))
        if work.open > held:
            uom = self._master.items[work.item]
            self._tell(iso(self._instant(now)), "stock.snapshot", work.site, item=work.item, qty="0", uom=uom)
        self._stage(work, work.item, found, now)

    def _substitute(self, work: Work, other: str, now: int) -> None:
        self._move(work.site, other, -work.open)
        self._count(work, substituted=work.open)
        self._put_work(replace(work, open=0))
        qty, uom = plain(work.open), self._master.items[other]
        self._tell_of(work, "pick.substituted", now, qty=qty, substitute_item=other, substitute_qty=qty, substitute_uom=uom)
        self._stage(work, other, work.open, now)

    def _other(self, work: Work) -> str | None:
        """What there is most of at the site, in the same unit: the least likely to be promised to somebody."""
        found: tuple[int, str] | None = None
        for key, qty in self._stock.scan(joined(work.site, "")):
            item = key.split("\x1f")[1]
            if item != work.item and self._master.items[item] == self._master.items[work.item] and qty >= 2 * work.open:
                found = max(found or (qty, item), (qty, item))
        return None if found is None else found[1]

    def _stage(self, work: Work, item: str, qty: int, now: int) -> None:
        if not qty:
            return
        at = joined(work.order, work.site)
        if not self._staged.scan(joined(work.order, work.site, "")):
            self._schedule(now + self._dice.delay_ms(self._options.ship_ms, "ship", work.number), WmsJob("ship", at))
        key = joined(at, work.line, item)
        self._staged.put(key, (self._staged.get(key) or 0) + qty)

    def _ship(self, at: str, now: int) -> None:
        """Everything staged for an order at a site leaves together."""
        order, site = at.split("\x1f")
        lines = []
        for key, qty in self._staged.scan(joined(at, "")):
            self._staged.remove(key)
            *_, line, item = key.split("\x1f")
            book = joined(order, int(line), site)
            held = self._books.get(book) or PickRecord()
            self._books.put(book, replace(held, shipped=held.shipped + qty))
            lines.append({"line": int(line), "item": item, "qty": plain(qty), "uom": self._master.items[item]})
        number = next_number(self._counters, "shipment", 900_001)
        dice = self._dice.of("truck", number)
        carrier, tracking = dice.choice(CARRIERS), f"1Z{dice.randrange(10**12):012d}"
        shipment = {"shipment": f"SH-{number}", "carrier": carrier, "tracking": tracking}
        self._tell(iso(self._instant(now)), "shipment.confirmed", site, order=order, **shipment, lines=lines)
        if self._dice.hits(self._options.returned, "return", number):
            back = dice.choice(lines)
            goods = {"site": site, "order": order, **back, "qty": plain(min(MILLI, milli(str(back["qty"]))))}
            due = now + self._dice.delay_ms(self._options.return_ms, "return", number)
            self._schedule(due, WmsJob("return", at, goods))

    # --- its books

    def _count_stock(self, asked: CountRequest, now: int) -> HttpAnswer:
        if asked.site not in self._master.sites or asked.item not in self._master.items:
            raise RequestRefused(f"Nothing is known of item {asked.item!r} at site {asked.site!r}.")
        qty = self._stock.get(joined(asked.site, asked.item)) or 0
        at = iso(self._instant(now))
        self._tell(at, "stock.snapshot", asked.site, item=asked.item, qty=plain(qty), uom=self._master.items[asked.item])
        return HttpAnswer(202, {"counted": plain(qty)})

    def _move(self, site: str, item: str, qty: int) -> None:
        key = joined(site, item)
        held = (self._stock.get(key) or 0) + qty
        assert held >= 0, "nothing is picked that is not there"
        self._stock.put(key, held)

    def _put_work(self, work: Work) -> None:
        if work.open:
            self._work.put(work.key, work)
        else:
            self._work.remove(work.key)

    def _count(self, work: Work, **more: int) -> None:
        key = joined(work.order, work.line, work.site)
        book = self._books.get(key) or PickRecord()
        book = replace(book, **{name: getattr(book, name) + qty for name, qty in more.items()})
        assert book.picked + book.short + book.substituted + book.withdrawn <= book.released, "only what is released is worked on"
        self._books.put(key, book)

    def _plan(self, what: str, work: Work, now: int, mean_ms: int) -> None:
        delay = self._dice.delay_ms(mean_ms, what, work.number, work.is_split)
        self._schedule(now + delay, WmsJob(what, work.key))

    def _schedule(self, due: int, job: WmsJob) -> None:
        self._jobs.put(due_key(due, next_number(self._counters, "job")), job)

    # --- what it tells

    def _instant(self, now: int) -> int:
        """Now, but after everything told before: the order of events is that of their times."""
        at = max(now, (self._counters.get("instant") or 0) + 1)
        self._counters.put("instant", at)
        return at

    def _tell_of(self, work: Work, kind: str, now: int, **facts: Any) -> None:
        about = {"order": work.order, "line": work.line, "item": work.item, "uom": self._master.items[work.item]}
        self._tell(iso(self._instant(now)), kind, work.site, **about, **facts)

    def _tell(self, at: str, kind: str, site: str, **facts: Any) -> None:
        sequence = next_number(self._counters, "sequence")
        event = {"event_id": f"W-{sequence}", "sequence": sequence, "type": kind, "site": site, "occurred_at": at, **facts}
        self._told.put(joined(sequence), event)
