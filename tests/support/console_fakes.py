"""The live page's ports in plain Python."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.api.console.ports import Changes, DemoAction, FeedProgress, InvariantState, ItemPage, Latency, Numbers, Only
from connectors.api.ports import NotKnown
from schemas.operations import ExceptionRow
from schemas.orders import OrderStatus
from tests.support.api_fakes import ENDPOINT, ORDER, ROW, exception

NUMBERS = Numbers(
    at_ms=0,
    is_reading=False,
    events_per_s=12,
    backlog_records=3,
    feeds=[FeedProgress("wms", 3, None)],
    latency=Latency(5, 9, 100),
    orders={"allocated": 2, "held": 1},
    items=1,
    item_warnings=0,
    exceptions={"critical": 1},
    endpoints=[ENDPOINT],
    invariants=[InvariantState("Never oversold", True, "1 item")],
)


class FakeLive:
    """Rows that change when a test says so. `reads`: how often changes were worked out."""

    def __init__(self) -> None:
        self.at = 0
        self.reads = 0
        self.error: Exception | None = None
        self.order = ORDER
        self.now = NUMBERS

    def numbers(self) -> Numbers:
        return self.now

    def cursor(self) -> str:
        return f"e.{self.at}"

    def changes(self, since: str, limit: int) -> Changes | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        if not since.startswith("e."):
            return None
        return Changes(self.cursor(), [self.order] if since != self.cursor() else [], [], [], [])

    def orders(self, statuses: Sequence[str], limit: int) -> list[OrderStatus]:
        return [self.order] if self.order.status in statuses else []

    def items(self, find: str, only: Only, start: int, limit: int) -> ItemPage:
        return ItemPage([(ROW, "a thing")] if find in ROW.item else [], 1, None)

    def exceptions(self, limit: int) -> list[ExceptionRow]:
        return [exception("f1")]


class FakeDemo:
    """Takes the warehouse's system away, and brings it back."""

    def __init__(self) -> None:
        self.is_down = False

    def actions(self) -> Sequence[DemoAction]:
        return [DemoAction("wms", "WMS up" if self.is_down else "WMS down", "Take it away", self.is_down)]

    async def run(self, name: str) -> str:
        if name != "wms":
            raise NotKnown("There is no such button.")
        self.is_down = not self.is_down
        return "The WMS is away." if self.is_down else "The WMS is back."
