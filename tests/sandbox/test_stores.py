"""A core behaves the same in memory and on files, and goes on after each restart as if there had been none."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.sandbox.erp import ErpOptions, SandboxErp
from infra.sandbox.store import FilesInUse, MemoryStore, SandboxStore, SqliteStore
from infra.sandbox.values import HttpAnswer
from infra.sandbox.wms import SandboxWms, WmsOptions
from tests.support.sandbox import MASTER, NOW, bill, order, release, withdrawal

Core = SandboxErp | SandboxWms
Step = tuple[Any, ...]
QTY = st.sampled_from(["0", "1", "2", "2.5", "7", "40"])
LINE = st.integers(1, 3)
KEY = st.integers(0, 30)
ITEMS = st.sampled_from("ABC")
WAIT = st.tuples(st.just("wait"), st.integers(1, 3_000))
ERP_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEY, st.integers(1, 5), st.lists(st.tuples(LINE, ITEMS, QTY), min_size=1, max_size=3)),
        st.tuples(st.just("bill"), KEY, st.lists(st.tuples(LINE, QTY), min_size=1, max_size=2)),
        WAIT,
    ),
    max_size=20,
)
WMS_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("release"), KEY, st.booleans(), st.lists(st.tuples(LINE, ITEMS, QTY), min_size=1, max_size=3)),
        st.tuples(st.just("withdraw"), KEY, st.lists(st.tuples(LINE, QTY), min_size=1, max_size=2)),
        st.tuples(st.just("receive"), ITEMS, QTY),
        WAIT,
    ),
    max_size=25,
)


def an_erp(store: SandboxStore) -> SandboxErp:
    return SandboxErp(store, MASTER, 5, ErpOptions(own_changes=0.4, own_change_ms=1_500))


def a_wms(store: SandboxStore) -> SandboxWms:
    wms = SandboxWms(
        store, MASTER, 5, WmsOptions(50_000, 500, 500, 500, 900, short=0.3, substituted=0.3, split=0.3, returned=0.3)
    )
    wms.announce(NOW)
    return wms


def ask(core: Core, step: Step, now: int) -> HttpAnswer:
    """One call of a step's kind."""
    match core, step:
        case SandboxErp(), ("put", key, revision, lines):
            return core.put_order(f"put-{key}", "web", f"W{key % 3}", order(*lines, revision=revision), now)
        case SandboxErp(), ("bill", key, lines):
            return core.post_invoice(f"bill-{key}", f"SO-{900_001 + key % 3}", bill(*lines), now)
        case SandboxWms(), ("release", key, substitute, lines):
            return core.release(f"release-{key}", release(*lines, order_id=f"web:W{key % 3}", substitute=substitute), now)
        case SandboxWms(), ("withdraw", key, lines):
            return core.withdraw(f"withdraw-{key}", withdrawal(*lines, order_id=f"web:W{key % 3}"))
        case SandboxWms(), ("receive", item, qty):
            return core.receive({"site": "DC1", "item": item, "qty": qty}, now)
    raise AssertionError(step)


class Starter:
    """Starts a core once, in memory."""

    def __init__(self, make: Callable[[SandboxStore], Core]) -> None:
        self.make = make
        self.core = make(MemoryStore())

    @contextlib.contextmanager
    def step(self) -> Iterator[Core]:
        yield self.core


class Restarter(Starter):
    """Starts the core anew on its file for each step."""

    def __init__(self, make: Callable[[SandboxStore], Core], path: Path) -> None:
        super().__init__(make)
        self.path = path

    @contextlib.contextmanager
    def step(self) -> Iterator[Core]:
        store = SqliteStore(self.path)
        with store.transaction():
            yield self.make(store)
        store.close()


def history(starter: Starter, steps: list[Step]) -> list[Any]:
    """All answers and messages, and the state after each step."""
    now, found = NOW, list[Any]()
    for step in [*steps, *[("wait", 60_000)] * 5]:
        with starter.step() as core:
            if step[0] == "wait":
                now += step[1]
                found.append(core.advance(now))
            else:
                found.append(ask(core, step, now))
            found.append(core.state())
    return found


def on_files(make: Callable[[SandboxStore], Core], steps: list[Step]) -> list[Any]:
    """The history of a core that is started anew for each step."""
    with tempfile.TemporaryDirectory() as directory:
        return history(Restarter(make, Path(directory) / "core.sqlite"), steps)


@given(ERP_STEPS)
@settings(max_examples=15)  # files are slow
def test_the_erp_bills_no_more_than_ordered_and_goes_on_after_restarts(steps: list[Step]) -> None:
    found = history(Starter(an_erp), steps)
    assert on_files(an_erp, steps) == found
    billed: dict[tuple[str, str], Decimal] = {}
    for invoice in found[-1]["invoices"].values():
        for line, qty in invoice["lines"].items():
            key = (invoice["order_no"], line)
            billed[key] = billed.get(key, Decimal(0)) + Decimal(qty)
    numbers = [row["order_no"] for row in found[-1]["orders"].values()]
    assert len(numbers) == len(set(numbers))
    for row in found[-1]["orders"].values():
        for number, line in row["lines"].items():
            assert Decimal(line["invoiced"]) == billed.get((row["order_no"], number), 0)
            assert Decimal(line["invoiced"]) <= Decimal(line["shipped"]) <= Decimal(line["ordered"])


@given(ERP_STEPS)
@settings(max_examples=40)
def test_the_erps_feed_adds_up_to_its_state(steps: list[Step]) -> None:
    found = history(Starter(an_erp), steps)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for message in (m for messages in found if isinstance(messages, list) for m in messages):
        table, key = message["value"]["source"]["table"], tuple(message["key"].values())
        assert (message["value"]["op"] == "c") == ((table, *key) not in rows)
        rows[table, *key] = message["value"]["after"]
    for row in found[-1]["orders"].values():
        assert rows["sales_order", row["order_no"]]["status"] == row["status"]
        for number, line in row["lines"].items():
            shown = rows["sales_order_line", row["order_no"], int(number)]
            assert (shown["item_no"], shown["status"]) == (line["item"], line["status"])
            for name in ("ordered", "shipped", "invoiced"):
                assert Decimal(shown[f"qty_{name}"]) == Decimal(line[name])


@given(WMS_STEPS)
@settings(max_examples=15)
def test_the_wms_picks_only_what_is_released_and_goes_on_after_restarts(steps: list[Step]) -> None:
    found = history(Starter(a_wms), steps)
    assert on_files(a_wms, steps) == found
    for state in (entry for entry in found if isinstance(entry, dict)):
        for row in (row for rows in state["orders"].values() for row in rows):
            book = {name: Decimal(row[name]) for name in row if name not in ("line", "site")}
            worked = book["picked"] + book["substituted"]
            assert worked <= book["released"] - book["withdrawn"]
            assert book["shipped"] <= worked
    for row in (row for rows in found[-1]["orders"].values() for row in rows):
        book = {name: Decimal(row[name]) for name in row if name not in ("line", "site")}
        assert book["released"] == book["withdrawn"] + book["picked"] + book["short"] + book["substituted"]
        assert book["shipped"] == book["picked"] + book["substituted"]


@given(WMS_STEPS)
@settings(max_examples=40)
def test_the_wmss_events_have_no_gaps_and_add_up_to_its_stock(steps: list[Step]) -> None:
    found = history(Starter(a_wms), steps)
    messages = [m for entry in found if isinstance(entry, list) for m in entry]
    assert [m["sequence"] for m in messages] == list(range(1, len(messages) + 1))
    assert len({m["event_id"] for m in messages}) == len(messages)
    stock: dict[str, Decimal] = {}
    for m in messages:
        place = f"{m['site']}/{m.get('substitute_item', m.get('item'))}"
        match m["type"]:
            case "stock.snapshot":
                stock[place] = Decimal(m["qty"])
            case "stock.received":
                stock[place] += Decimal(m["qty"])
            case "pick.completed" | "pick.short":
                stock[place] -= Decimal(m["qty"]) + Decimal(m.get("qty_short", "0"))
            case "pick.substituted":
                stock[place] -= Decimal(m["substitute_qty"])
    assert stock == {place: Decimal(qty) for place, qty in found[-1]["stock"].items()}


def test_rows_are_scanned_alike_in_memory_and_on_files(tmp_path: Path) -> None:
    kept = SqliteStore(tmp_path / "a.sqlite")
    stores: list[SandboxStore] = [MemoryStore(), kept]
    seen = []
    for store in stores:
        rows = store.rows("r", int)
        for n, key in enumerate(["a", "b/1", "b/2", "b/3", "c"]):
            rows.put(key, n)
        rows.put("c", 9)
        rows.remove("a")
        rows.remove("z")
        other = store.rows("s", int)
        scans = (
            rows.scan(),
            rows.scan("b/"),
            rows.scan("b/", after="b/1"),
            rows.scan("b/", below="b/3", limit=5),
            rows.scan(limit=1),
        )
        seen.append((scans, rows.count(), rows.get("a"), rows.get("c"), other.scan()))
    assert seen[0] == seen[1]
    assert seen[0][0][2] == [("b/2", 2), ("b/3", 3)]
    kept.close()


def test_a_transaction_is_kept_whole_or_not_at_all_and_a_file_has_one_owner(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.sqlite")
    rows = store.rows("r", int)
    with pytest.raises(KeyError), store.transaction():
        rows.put("x", 1)
        raise KeyError
    with store.transaction():
        rows.put("y", 2)
    with pytest.raises(FilesInUse, match="another sandbox"):
        SqliteStore(tmp_path / "a.sqlite")
    store.close()
    again = SqliteStore(tmp_path / "a.sqlite")
    assert again.rows("r", int).scan() == [("y", 2)]
    again.close()
