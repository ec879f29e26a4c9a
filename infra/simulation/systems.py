"""The other systems as crossdock's agents meet them: the sandbox's cores in memory, what they tell, and how they fail.

Everything happens at the simulated instant. What was asked of a system under which key is written down, and held against what
may never be (`wrong`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import httpx

from infra.sandbox.crm import Crm
from infra.sandbox.erp import ErpOptions, SandboxErp
from infra.sandbox.master import Master
from infra.sandbox.store import MemoryStore
from infra.sandbox.values import HttpAnswer
from infra.sandbox.wms import SandboxWms, WmsOptions
from infra.simulation import sandbox_messages
from infra.simulation.facts import ErpFact, RawMessage
from infra.simulation.world import SimulatedWorld

NAMES = ("erp", "wms", "crm", "portal")
SECRET = "both know it"  # noqa: S105 - of a simulated system


@dataclass(slots=True)
class Trouble:
    """What is wrong with a system. `down_until_ms`: until then it does nothing and says so, or is not there.

    Shares of calls: `slow` take long, of `lost` the reply never comes, `doubled` come a second time, perhaps much later.
    `broken`: orders it fails on, by a mistake of its own. Shares of what it tells: `repeated`, `late` (overtaken by others).
    """

    down_until_ms: int = 0
    slow: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    broken: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class TakenCall:
    """A call that took effect: what was asked, and the answer."""

    name: str
    path: str
    body: Any
    status: int
    answer: dict[str, Any]


class Systems:
    """The ERP, the WMS, the CRM and a portal.

    `shown`: the largest quantity the ERP's feed has shown of a line not cancelled. `meddled`: orders the ERP's people changed.
    """

    def __init__(self, world: SimulatedWorld, dice: Random) -> None:
        self.world = world
        self.trouble = {name: Trouble() for name in NAMES}
        self.taken: dict[tuple[str, str], TakenCall] = {}
        self.wrong: list[str] = []
        self.shown: dict[tuple[str, int], Decimal] = {}
        self.meddled: set[str] = set()
        self._dice = dice
        self._master = Master({}, {}, frozenset(world.sites), tuple((s, k.item) for s in world.wms_sites for k in world.items))
        self.learn()
        pace = dice.choice((1, 1, 30))
        own = dice.choice((0.0, 0.0, 0.3))
        self._meddles = own > 0
        self.erp = SandboxErp(
            MemoryStore(), self._master, world.seed, ErpOptions(dice.choice((200, 5_000)) * pace, own, 4_000 * pace)
        )
        options = WmsOptions(
            stock_milli=dice.randint(8, 40) * 1000,
            start_ms=500 * pace, pick_ms=dice.choice((500, 4_000)) * pace, ship_ms=1_000 * pace, return_ms=20_000 * pace,
            short=dice.choice((0.0, 0.15)), substituted=dice.choice((0.0, 0.2)), split=dice.choice((0.0, 0.2)), returned=0.1,
        )  # fmt: skip
        self.wms = SandboxWms(MemoryStore(), self._master, world.seed, options)
        self.told = {"crm": Crm(MemoryStore(), SECRET), "portal": Crm(MemoryStore(), SECRET)}
        self._held: list[RawMessage] = []

    def learn(self) -> None:
        """The ERP's master data as it is now; the WMS has the same."""
        rows, master = self.world.erp.rows, self._master
        for known in (master.items, master.customers, master.prices):
            known.clear()
        master.items.update({key[0]: row["base_uom"] for key, row in rows["item"].items()})
        master.customers.update({key[0]: row["price_list"] for key, row in rows["customer"].items()})
        master.prices.update({(key[0], key[1]): str(row["unit_price"]) for key, row in sorted(rows["item_price"].items())})

    def is_down(self, name: str) -> bool:
        """Whether it does nothing now."""
        return self.world.now_ms < self.trouble[name].down_until_ms

    def heal(self) -> None:
        """Everything works from now on."""
        for name in NAMES:
            self.trouble[name] = Trouble()

    # --- what they are asked ---------------------------------------------------------------------------------------------

    def handle(self, name: str, request: httpx.Request) -> httpx.Response:
        """A call comes in. Raises `httpx.ConnectError` if nobody is there."""
        if self.is_down(name):
            if self._dice.random() < 0.3:
                raise httpx.ConnectError("nobody listens")
            hint = {"Retry-After": str(self._dice.randint(1, 20))} if self._dice.random() < 0.5 else {}
            return httpx.Response(503, json={"reason": f"The {name} is down."}, headers=hint)
        key, content = request.headers["Idempotency-Key"], request.content
        if any(key.startswith(order_id + "/") for order_id in self.trouble[name].broken):
            return httpx.Response(500, text="it is our mistake")
        path, body = request.url.path, json.loads(content)
        before = self.taken.get((name, key))
        answer = self._answer(name, key, path, body, request)
        if before is None:
            self._take_down(name, key, TakenCall(name, path, body, answer.status, answer.body))
        elif (before.path, before.body) != (path, body):
            self.wrong.append(f"the {name} was asked two things under the key {key}")
        return httpx.Response(answer.status, json=answer.body)

    def _answer(self, name: str, key: str, path: str, body: Any, request: httpx.Request) -> HttpAnswer:
        now = self.world.now_ms
        parts = path.strip("/").split("/", 2)
        match name, parts:
            case "erp", ["orders", order_no, "invoices"]:
                return self.erp.post_invoice(key, order_no, body, now)
            case "erp", ["orders", order_no, "credits"]:
                return self.erp.post_credit(key, order_no, body, now)
            case "erp", ["orders", channel, ref]:
                return self.erp.put_order(key, channel, ref, body, now)
            case "wms", ["releases"]:
                return self.wms.release(key, body, now)
            case "wms", ["counts"]:
                return self.wms.count(key, body, now)
            case "wms", ["withdrawals"]:
                return self.wms.withdraw(key, body)
            case "crm" | "portal", ["notices"]:
                signature = request.headers.get("X-Crossdock-Signature", "")
                return self.told[name].notify(key, request.content, signature, now)
            case _:
                return HttpAnswer(404, {"reason": f"{name} has no {path}."})

    def _take_down(self, name: str, key: str, call: TakenCall) -> None:
        """Write down what took effect, and hold it against what may never be."""
        if "revision" in (call.body or {}):
            same = [k for (n, k), t in self.taken.items() if (n, t.path) == (name, call.path) and t.body == call.body]
            if same:
                self.wrong.append(f"revision {call.body['revision']} of {call.path} was posted under {key} and {same[0]}")
        self.taken[name, key] = call
        if call.path == "/releases" and call.status == 202:
            self._check_release(call.body)
        if call.path.endswith("/invoices") and call.status == 201:
            self._check_invoice(call.path.split("/")[2])

    def _check_release(self, body: Any) -> None:
        """Nothing goes to the floor that the ERP has not confirmed."""
        net: dict[int, Decimal] = {}
        for row in self.wms.state()["orders"][body["order"]]:
            net[row["line"]] = net.get(row["line"], Decimal(0)) + self.net_released(row)
        for line in {row["line"] for row in body["lines"]}:
            confirmed = self.shown.get((body["order"], line), Decimal(0))
            if net[line] > confirmed:
                self.wrong.append(f"line {line} of {body['order']}: {net[line]} released, the ERP had confirmed {confirmed}")

    @staticmethod
    def net_released(row: dict[str, Any]) -> Decimal:
        """What the warehouse should ship of a row of its books, or has."""
        return Decimal(row["released"]) - Decimal(row["withdrawn"]) - Decimal(row["short"])

    def _check_invoice(self, order_no: str) -> None:
        """Nothing is billed that has not shipped."""
        for order_id, order in self.erp_orders().items():
            if order["order_no"] == order_no:
                shipped = self.shipped(order_id)
                for line, row in order["lines"].items():
                    if Decimal(row["invoiced"]) > shipped.get(int(line), Decimal(0)):
                        self.wrong.append(
                            f"line {line} of {order_id}: {row['invoiced']} billed, {shipped.get(int(line), 0)} shipped"
                        )

    # --- how they stand --------------------------------------------------------------------------------------------------

    def erp_orders(self) -> dict[str, dict[str, Any]]:
        """The ERP's orders by our ids."""
        ours = {"WEB": "web", "EDI": "edi", "MKT": "marketplace", "PHONE": "phone"}
        found = {}
        for name, order in self.erp.state()["orders"].items():
            code, ref = name.split("/", 1)
            found[f"{ours[code]}:{ref}"] = order
        return found

    def floor(self) -> dict[str, dict[int, dict[str, Decimal]]]:
        """The warehouse's books: by order and line, all sites together."""
        found: dict[str, dict[int, dict[str, Decimal]]] = {}
        for order_id, rows in self.wms.state()["orders"].items():
            for row in rows:
                sums = found.setdefault(order_id, {}).setdefault(row["line"], {})
                for name, qty in row.items():
                    if name not in ("line", "site"):
                        sums[name] = sums.get(name, Decimal(0)) + Decimal(qty)
        return found

    def shipped(self, order_id: str) -> dict[int, Decimal]:
        """What has left of each line."""
        return {line: sums["shipped"] for line, sums in self.floor().get(order_id, {}).items()}

    # --- what they tell --------------------------------------------------------------------------------------------------

    def advance(self, *, is_all: bool = False) -> list[RawMessage]:
        """Let them work until now: what arrives of what they tell, perhaps late or twice. `is_all`: nothing is held back."""
        now = self.world.now_ms
        fresh: list[RawMessage] = []
        if not self.is_down("erp"):
            before = self._asked_for()
            fresh += map(sandbox_messages.by_erp, self.erp.advance(now))
            self.meddled |= {order_id for order_id, lines in self._asked_for().items() if lines != before[order_id]}
        if not self.is_down("wms"):
            fresh += map(sandbox_messages.by_wms, self.wms.advance(now))
        going: list[RawMessage] = []
        held, self._held = self._held, []
        for message in fresh:
            trouble = self.trouble["wms" if message.topic == "raw.wms" else "erp"]
            is_late = not is_all and self._dice.random() < trouble.late
            (self._held if is_late else going).append(message)
            if self._dice.random() < trouble.repeated:
                self._held.append(message)
        going += held
        for message in going:
            self._show(message)
        return going

    def _show(self, message: RawMessage) -> None:
        fact = message.fact
        if isinstance(fact, ErpFact) and fact.row is not None and fact.table == "sales_order_line" and fact.row["status"] != "X":
            order_id = next((name for name, order in self.erp_orders().items() if order["order_no"] == fact.key[0]), None)
            if order_id is not None:
                at = (order_id, fact.key[1])
                self.shown[at] = max(self.shown.get(at, Decimal(0)), fact.row["qty_ordered"])

    def _asked_for(self) -> dict[str, list[tuple[str, bool]]]:
        if not self._meddles:
            return {}
        orders = self.erp_orders().items()
        return {name: [(row["ordered"], row["status"] == "X") for row in order["lines"].values()] for name, order in orders}

    def next_due(self) -> int | None:
        """When one of them does or tells something next."""
        if self._held:
            return self.world.now_ms
        due = [(name, core.next_due()) for name, core in (("erp", self.erp), ("wms", self.wms))]
        return min((max(at, self.trouble[name].down_until_ms) for name, at in due if at is not None), default=None)
