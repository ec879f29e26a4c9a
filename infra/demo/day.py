"""The demonstration: a real ERP capture, then four channels' orders run through ERP and WMS, to quiescence."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from random import Random

import httpx

from connectors.erp.columns import TABLES
from infra.demo import garbage
from infra.demo.channels import wishes
from infra.demo.doors import ChannelEntry
from infra.demo.invariants import Invariant, as_the_erp, check_all
from infra.demo.outcome import Latencies, Summary, every, summed_up
from infra.demo.sandbox import SandboxClient
from infra.demo.servers import Servers
from infra.demo.world import DemoItem, DemoOrder, DemoPlan, DemoPrice, dice
from schemas.codec import Codec
from schemas.quantity import show
from schemas.topics import RAW_ERP
from streams.commands.file_ingest import ingest_file
from streams.runtime.app import App
from tables.customers.state import Customer
from tables.orders.lifecycle import ENDED

ITEMS = 120
GOOD_LIMIT = 25_000
RESTOCKED = 0.8  # share of what waits that is brought
DOUBTFUL = 3  # customers without much credit: some of their orders will be held
TRUCK_PAUSE_S = 1.0
SILENT_S = 1.5
FED_SILENT_S = 4.0  # longer than a change takes from the ERP's database to us
LONG_SILENT_S = 6.0  # longer than any of the sandbox's steps takes
QUIET_WITHIN_S = 300.0
HEARTBEATS = RAW_ERP["other"].name
Step = Callable[[str, int, int], None]


class DemoDay:
    """Runs the demonstration over a running `App`, its API and a sandbox. `step` is told (what, done, of how many).

    With `servers` the ERP's rows are in their database, which is read from what is there on.
    """

    def __init__(
        self,
        app: App,
        sandbox: SandboxClient,
        doors: ChannelEntry,
        api: str,
        clock_ms: Callable[[], int],
        step: Step,
        servers: Servers | None = None,
    ) -> None:
        self._app = app
        self._sandbox = sandbox
        self._doors = doors
        self._api = api
        self._clock_ms = clock_ms
        self._step = step
        self._servers = servers
        self._codec = Codec()
        self._trucks: deque[tuple[str, str, str]] = deque()  # site, item, quantity
        self._unload_after = 0.0
        self.messages: Counter[str] = Counter()

    def run(self, seed: int, orders: int, garbage_count: int, rate: float) -> tuple[Summary, list[Invariant]]:
        """ERP, stock, orders at `rate` a second, all worked off. Raises `RuntimeError` if a worker halts or it never ends."""
        began = time.monotonic()
        self.ingest()
        busy_ms, events = self._app.counters().busy_ms, self._app.counters().inputs
        as_erp = as_the_erp(self._app)
        latencies = Latencies(self._app, self._codec)
        self.open_warehouse()
        self._order(self.plan(seed, orders, garbage_count), rate, latencies)
        self.wait_until_quiet(latencies)
        self.messages.update(self._doors.sent)
        self.messages.update({name: self._sandbox.state(name)["outbox"]["sent"] for name in ("erp", "wms")})
        summary = summed_up(self._app, self._codec, dict(self.messages), latencies.taken())
        summary.seconds = round(time.monotonic() - began, 1)
        summary.events_per_s = round(events * 1000 / max(1, busy_ms))
        return summary, [as_erp, *check_all(self._app, self._sandbox)]

    def plan(self, seed: int, orders: int, garbage_count: int) -> DemoPlan:
        """What the channels will order, drawn from the master data the ERP has sent."""
        rows = self._app.tables.scan
        items = [
            DemoItem(row.item, row.base_uom, row.base_uom in {"KG", "L", "M"}, row.pack_uom, row.pack_milli)
            for _, row in rows("promise", "items")
            if row.status == "A" and not row.is_deleted and not row.lot_tracked
        ]
        live = ((key, row) for key, row in rows("promise", "prices") if not row.is_deleted)
        found = sorted((key[3], key, row) for key, row in live)
        return DemoPlan(
            seed=seed,
            items=sorted(items, key=lambda item: item.item)[:ITEMS],
            sites=sorted({key[0] for key, _ in rows("promise", "sites")}),
            customers=_customers([(key[0], row) for key, row in rows("customers", "customers") if not row.is_deleted]),
            prices={(key[1], key[0]): DemoPrice(row.unit_price, key[2]) for _, key, row in found},
            orders=orders,
            channels=[name for name in ("web", "marketplace", "crm", "edi") if name in self._app.settings.channels],
            garbage=garbage_count,
        )

    # --- its parts -------------------------------------------------------------------------------------------------------

    def ingest(self) -> None:
        """What the ERP has, worked off: its capture, or the rows of its database."""
        if self._servers is None:
            self._ingest_capture()
        else:
            self._await_snapshot(self._servers)
        most = 0
        while not self._app.settle(0.2):
            waiting = self._app.watch.waiting()
            most = max(most, waiting)
            self._step("ERP worked off", most - waiting, most)
            self._check_alive()
        self._check_alive()

    def _ingest_capture(self) -> None:
        with as_file(files("connectors.erp") / "sample" / "records.jsonl.gz") as capture:
            report = ingest_file(self._app.log, capture, "erp", lambda done, total: self._step("ERP capture", done, total))
        self.messages["erp capture"] = report.records

    def _await_snapshot(self, servers: Servers) -> None:
        """Debezium reads all rows there are, and goes on from there."""
        self._step("Debezium starts", 0, servers.rows)
        servers.feed()
        tables = {RAW_ERP[name].name for name in TABLES}
        until = time.monotonic() + QUIET_WITHIN_S
        while (come := sum(entry.end for entry in self._app.watch.inputs() if entry.at.topic in tables)) < servers.rows:
            self._step("ERP's database", come, servers.rows)
            self._check_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"only {come} of the ERP's {servers.rows} rows came from its database")
            time.sleep(0.2)
        self.messages["erp's rows"] = come

    def open_warehouse(self) -> None:
        """Have the sandbox's systems talk to crossdock, and the stock they begin with worked off."""
        self._sandbox.tell(self._api)
        self._until_told("the warehouse's stock")

    def _order(self, plan: DemoPlan, rate: float, latencies: Latencies) -> None:
        """Bring the wishes in at a steady rate, some of them twice, and the garbage between them."""
        rubbish = garbage.some(plan, self._clock_ms())
        every_n = max(1, plan.orders // max(1, len(rubbish)))
        rng, began, placed = dice(plan, "delivery"), time.monotonic(), 0
        for wish in wishes(plan, self._clock_ms):
            self._pace(began + placed / rate, latencies)
            self._bring(wish, rng, plan.duplicate_rate)
            placed += wish.kind == "order"
            if wish.kind == "order" and placed % every_n == 0 and rubbish:
                self.send_garbage(*rubbish.pop())
            self._step("orders", placed, plan.orders)
            self.unload()
            if wish.kind == "order" and placed == plan.orders * 2 // 3:
                self.restock(rng)
        self._doors.flush()
        for source, kind, body in rubbish:
            self.send_garbage(source, kind, body)

    def restock(self, rng: Random) -> None:
        """Trucks come: goods for most of what waits."""
        for row in every(self._app.published.atp_page, "item"):
            for site in row.sites:
                if site.backordered_milli > 0 and rng.random() < RESTOCKED:
                    self._trucks.append((site.site, row.item, show(2 * site.backordered_milli)))
        self.unload()

    def unload(self) -> int:
        """Have the warehouse take what trucks have brought; returns for how much they wait, because its system is away."""
        while self._trucks and time.monotonic() >= self._unload_after:
            try:
                self._sandbox.receive(*self._trucks[0])
            except httpx.HTTPError:
                self._unload_after = time.monotonic() + TRUCK_PAUSE_S
            else:
                self._trucks.popleft()
        return len(self._trucks)

    def _bring(self, wish: DemoOrder, rng: Random, duplicate_rate: float) -> None:
        try:
            self._doors.bring(wish)
            if rng.random() < duplicate_rate:
                self._doors.again(wish)
        except httpx.HTTPError as error:
            raise RuntimeError(f"an order of {wish.channel} was not taken: {error}") from None

    def send_garbage(self, source: str, kind: str, body: bytes) -> None:
        """Append a message nobody can understand as it is: HTTP would refuse some of it at the door."""
        self._app.ports.ingest.accept(source, [body])
        self.messages[f"garbage: {kind}"] += 1

    def _pace(self, at: float, latencies: Latencies) -> None:
        latencies.look()
        while (ahead := at - time.monotonic()) > 0:
            time.sleep(min(ahead, 0.02))
            latencies.look()

    def _until_told(self, what: str) -> None:
        """Until the sandbox has said what it has to say, and it is worked off."""
        most, until = 1, time.monotonic() + QUIET_WITHIN_S
        self._step(what, 0, most)
        while (waiting := self._untold()) or not self._app.settle(0.2):
            most = max(most, waiting)
            self._step(what, most - waiting, most)
            self._check_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"{what} did not come within {QUIET_WITHIN_S:.0f} s")
            time.sleep(0.02)
        self._step(what, most, most)

    def _untold(self) -> int:
        return sum(int(self._sandbox.state(name)["outbox"]["waiting"]) for name in ("erp", "wms"))

    def wait_until_quiet(self, latencies: Latencies | None = None) -> None:
        """Until nothing moves: nothing waits anywhere, and no order is on its way, or those that are have to wait for long.

        (The warehouse is sent again after an hour for what it did not find.) Raises `RuntimeError` if that takes too long.
        """
        began = still_since = time.monotonic()
        before, most = -1, 1
        silent_s = SILENT_S if self._servers is None else FED_SILENT_S
        while True:
            self._check_alive()
            if latencies is not None:
                latencies.look()
            now = time.monotonic()
            moving = self.moving()
            most = max(most, moving)
            self._step("orders on their way", most - moving, most)
            said = sum(entry.end for entry in self._app.watch.inputs() if entry.at.topic != HEARTBEATS)
            if said != before or self._app.watch.waiting() or self._untold() or self._obligations() or self.unload():
                before, still_since = said, now
            if now - still_since > (silent_s if not moving else LONG_SILENT_S):
                return
            if now - began > QUIET_WITHIN_S:
                raise RuntimeError(f"not quiet within {QUIET_WITHIN_S:.0f} s: {moving} orders are still on their way")
            # Asking costs what it is to measure: a twentieth of the time at most goes into it.
            time.sleep(max(0.1, 20 * (time.monotonic() - now)))

    def _obligations(self) -> int:
        return sum(row.waiting - row.exhausted for row in self._app.published.endpoints())

    def moving(self) -> int:
        """Orders that will go on by themselves, without more stock and without a person."""
        return sum(1 for _ in self._moving())

    def _moving(self) -> Iterator[str]:
        for row in every(self._app.published.order_page, "order_id"):
            if row.status in ENDED - {"shipped"}:
                continue
            if row.decision == "checking":
                yield row.order_id
            elif row.decision == "accepted":
                is_open = any(line.allocated_milli > 0 or line.picked_milli > line.shipped_milli for line in row.lines)
                is_owed = any(line.invoiced_milli < min(line.shipped_milli, line.ordered_milli) for line in row.lines)
                if is_open or is_owed:
                    yield row.order_id

    def _check_alive(self) -> None:
        for name, why in self._app.halted().items():
            raise RuntimeError(f"the {name} has halted: {why}")


def _customers(rows: list[tuple[str, Customer]]) -> dict[str, str]:
    """Price lists of those who order: customers with credit, and a few without."""
    good = {
        name: row.price_list
        for name, row in rows
        if not row.credit_hold and (row.credit_limit is None or row.credit_limit >= GOOD_LIMIT)
    }
    doubtful = [(name, row.price_list) for name, row in rows if name not in good]
    return {**good, **dict(doubtful[:DOUBTFUL])}
