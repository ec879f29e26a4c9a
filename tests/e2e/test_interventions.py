"""What a person sees and does when something does not go on: halts, pauses, events that wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.api.app import create_api
from schemas.errors import BrokenInvariant
from schemas.inventory import StockCounted
from streams.cli import app as cli
from streams.commands.file_ingest import MessageRouter
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.flow import Fold
from streams.runtime.app import App
from streams.runtime.open_log import all_topics
from streams.settings.settings import Settings, load
from tests.support.api_fakes import Client
from tests.support.app import ITEM, count, erp_row, master

JUNK = [b'{"type": "nonsense %d"}' % n for n in range(150)]
LIMITS = {"limits": {"dead_letters": 100}}


class Running:
    """An app in this process, on an embedded log, with its API."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.path = path
        self.settings: Settings = load(data=path, **given)
        self.log = EmbeddedLog(path)
        self.log.create(all_topics(self.settings))
        self.app = App(self.settings, self.log)
        self.client = Client(create_api(self.app.ports))

    def send(self, source: str, messages: list[bytes]) -> None:
        intake = MessageRouter(self.log, self.settings.channels)
        self.log.append([intake.outgoing(source, message) for message in messages])

    def close(self) -> None:
        self.app.stop()
        self.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def one(**given: Any) -> Running:
        made.append(Running(tmp_path / "data", **given))
        return made[-1]

    yield one
    for running in made:
        running.close()


def wait(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
    return found


def atp(running: Running) -> Any:
    return running.client.get(f"/v1/atp/{ITEM}").json().get("promise")


def order(ref: str, day: str) -> bytes:
    line = {"line": 1, "item": ITEM, "qty": "1", "uom": "EA"}
    head = {"channel": "web", "external_ref": ref, "customer": "C", "placed_at": "2026-11-02T09:00:00Z", "requested_date": day}
    return json.dumps(head | {"lines": [line]}).encode()


def test_many_bad_orders_do_not_stop_their_channel(start: Callable[..., Running]) -> None:
    running = start()
    running.send("erp", master())
    running.send("web", [order(f"BAD-{n}", "29.11.2026") for n in range(120)])
    running.app.start()
    wait(lambda: running.app.watch.fates()["translate.channel"].dead_lettered == 120)
    running.send("web", [order("GOOD", "2026-12-01")])
    wait(lambda: running.client.get("/v1/orders/web:GOOD").status_code == 200)
    assert running.client.get("/v1/operations").json()["paused"] == []


def test_garbage_pauses_its_feed_alone_until_a_person_resumes_it(start: Callable[..., Running]) -> None:
    running = start(**LIMITS)
    running.send("erp", master())
    running.send("wms", [*JUNK, count("70", 1)])
    running.app.start()
    (paused,) = wait(lambda: running.client.get("/v1/operations").json()["paused"])
    assert (paused["source"], paused["record"]) == ("wms", "raw.wms/0/99")
    ready = wait(lambda: (r := running.client.get("/readyz")).status_code == 200 and r)
    assert ready.json()["checks"]["sources"] == "wms is paused, 51 records wait: crossdock resume wms"
    assert running.app.dashboard.numbers().paused["wms"].endswith("crossdock resume wms")
    wait(lambda: running.client.get("/v1/exceptions/paused%3Awms").status_code == 200)
    assert running.app.watch.fates()["translate.wms"].dead_lettered == 100
    letters = running.client.get("/v1/exceptions?code=dead_letter").json()["exceptions"]
    assert sum(row["count"] for row in letters) == 100
    running.send("web", [order("GOOD", "2026-12-01")])
    wait(lambda: running.client.get("/v1/orders/web:GOOD").status_code == 200)

    wrong = running.client.post("/v1/operations/resume", json={"source": "erp", "person": "ada", "reason": "x"})
    assert (wrong.status_code, "What is paused: wms" in wrong.text) == (409, True)
    done = running.client.post("/v1/operations/resume", json={"source": "wms", "person": "ada", "reason": "corrected"})
    assert done.status_code == 202
    assert wait(lambda: atp(running) == 69)  # the order holds one
    assert running.app.watch.fates()["translate.wms"].dead_lettered == 150
    wait(lambda: running.client.get("/v1/exceptions/paused%3Awms").json()["state"] == "cleared")
    assert running.client.get("/v1/operations").json()["paused"] == []


def test_a_pause_outlives_a_restart_and_is_ended_by_a_command_while_nothing_runs(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crossdock.toml").write_text("[limits]\ndead_letters = 100\n")
    monkeypatch.chdir(tmp_path)
    running = start()
    running.send("erp", master())
    running.send("wms", [*JUNK, count("70", 1)])
    running.app.start()
    wait(lambda: running.client.get("/v1/operations").json()["paused"])
    running.close()

    run = CliRunner().invoke
    told = run(cli, ["doctor", "--json", "--data", str(tmp_path / "data")])
    checks = {row["check"]: row for row in json.loads(told.stdout)["checks"]}
    assert checks["sources"]["result"] == "error"
    assert checks["sources"]["says"].endswith("crossdock resume wms")
    assert checks["limits"]["says"].startswith("a source is paused after 100 dead letters within 3,600 s")
    done = run(cli, ["resume", "wms", "--reason", "corrected", "--data", str(tmp_path / "data")])
    assert (done.exit_code, done.stdout) == (0, "wms is read on when crossdock runs.\n")

    again = start()
    again.app.start()
    assert wait(lambda: atp(again) == 70)
    assert again.app.watch.fates()["translate.wms"].dead_lettered == 150


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rule for counts of 13 finds that it cannot be."""
    from streams.runtime import app as wiring

    found = wiring.all_flows

    def broken(settings: Settings) -> Any:
        flows = found(settings)
        (promise,) = [flow for flow in flows if isinstance(flow, Fold) and flow.name == "promise"]
        rule = promise.rules[StockCounted]

        def counted(t: Any, e: StockCounted) -> Any:
            if e.qty_milli == 13_000:
                raise BrokenInvariant("thirteen cannot be")
            return rule(t, e)

        promise.rules[StockCounted] = counted
        return flows

    monkeypatch.setattr(wiring, "all_flows", broken)
    yield


@pytest.mark.usefixtures("defect")
def test_a_halted_partition_is_alive_and_not_ready_and_a_person_has_its_record_skipped(start: Callable[..., Running]) -> None:
    running = start()
    running.send("erp", master())
    running.send("wms", [count("70", 1), count("13", 2, at="2026-01-02T10:00:00Z"), count("80", 3, at="2026-01-02T11:00:00Z")])
    running.app.start()
    (halt,) = wait(lambda: running.client.get("/v1/operations").json()["halted"])
    assert (halt["flow"], halt["reason"]) == ("promise", "thirteen cannot be")
    assert halt["exit"] == f'crossdock skip {halt["record"]} --reason "..."'
    assert running.client.get("/healthz").status_code == 200
    ready = running.client.get("/readyz")
    assert ready.status_code == 503
    assert halt["exit"] in ready.json()["detail"]
    assert atp(running) == 70

    unknown = running.client.post("/v1/operations/skip", json={"record": "raw.wms/0/0", "person": "ada", "reason": "x"})
    assert (unknown.status_code, halt["record"] in unknown.text) == (404, True)
    body = {"record": halt["record"], "person": "ada", "reason": "counted again"}
    assert running.client.post("/v1/operations/skip", json=body).status_code == 202
    assert wait(lambda: atp(running) == 80)
    wait(lambda: running.client.get("/readyz").status_code == 200)
    (letter,) = running.app.published.dead_letters()
    assert letter.reason.startswith("skipped by ada: counted again.")


@pytest.mark.usefixtures("defect")
def test_a_record_is_skipped_by_a_command_while_nothing_runs(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start()
    running.send("erp", master())
    running.send("wms", [count("70", 1), count("13", 2, at="2026-01-02T10:00:00Z"), count("80", 3, at="2026-01-02T11:00:00Z")])
    running.app.start()
    (halt,) = wait(lambda: running.client.get("/v1/operations").json()["halted"])
    running.close()
    run = CliRunner().invoke
    told = run(cli, ["doctor", "--json", "--data", str(tmp_path / "data")])
    checks = {row["check"]: row for row in json.loads(told.stdout)["checks"]}
    assert (checks["partitions"]["result"], halt["exit"] in checks["partitions"]["says"]) == ("error", True)
    done = run(cli, ["skip", halt["record"], "--reason", "counted again", "--data", str(tmp_path / "data")])
    assert done.exit_code == 0
    again = start()
    again.app.start()
    assert wait(lambda: atp(again) == 80)


def snapshot(lsn: int, items: dict[str, int]) -> list[bytes]:
    """An initial snapshot: the site, and the ERP's items with their balances there."""
    site = {"site_code": "DC1", "name": "One", "timezone": "UTC"}
    rows: list[tuple[str, dict[str, Any], dict[str, Any]]] = [("site", {"site_code": "DC1"}, site)]
    master_row: dict[str, Any] = {"description": "", "base_uom": "EA", "pack_uom": None, "pack_qty": None, "lot_tracked": False}
    master_row |= {"shelf_life_days": None, "status": "A", "safety_stock": "0.000", "updated_at": 1, "hazmat_class": None}
    stock = {"allocated": "0.000", "on_order": "0.000", "row_version": 1, "updated_at": "2026-11-23T08:43:51Z"}
    for name, units in items.items():
        key = {"site_code": "DC1", "item_no": name}
        rows.append(("item", {"item_no": name}, {"item_no": name} | master_row))
        rows.append(("inventory_balance", key, key | {"on_hand": f"{units}.000"} | stock))
    said = []
    for table, key, row in rows:
        record = json.loads(erp_row(table, key, row, lsn))
        record["value"] |= {"op": "r"}
        record["value"]["source"] |= {"snapshot": "true", "sequence": f'[null,"{lsn}"]', "ts_ms": lsn * 1_000}
        said.append(json.dumps(record).encode())
    return said


def test_rows_that_a_new_snapshot_has_not_read_are_suspect_until_a_person_says_it_is_over(
    start: Callable[..., Running],
) -> None:
    """Nothing changes in the tables any more, so that nothing the ERP sends says it."""
    running = start(site={"DC1": {"physical_owner": "erp"}})
    running.send("erp", snapshot(900, {"A": 100, "C": 30}))
    running.app.start()

    def item(name: str) -> Any:
        return running.client.get(f"/v1/atp/{name}").json()

    def settle(table: str) -> Any:
        return running.client.post("/v1/operations/settle", json={"table": table, "person": "ada", "reason": "it streams"})

    wait(lambda: (item("A").get("promise"), item("C").get("promise")) == (100, 30))
    assert (settle("item").status_code, settle("items").status_code) == (409, 404)
    running.send("erp", snapshot(9_000, {"A": 40}))
    wait(lambda: item("A")["promise"] == 40 and item("C")["is_suspect"])
    for table in ("inventory_balance", "item"):
        assert (settle(table).status_code, settle(table).json()["history"]) == (202, 9_000)
    wait(lambda: not item("C")["is_suspect"] and item("C")["promise"] == 0)
    assert (item("A")["promise"], item("A")["is_suspect"]) == (40, False)
    (known,) = running.client.get("/v1/exceptions?code=erp_history").json()["exceptions"]
    assert "Every row was read, or is gone, by now" in known["sentence"]


def test_what_waits_is_counted_aged_and_shown(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start()
    receipts = [
        json.dumps(
            {
                "event_id": f"W-{n}",
                "sequence": n,
                "type": "stock.received",
                "site": "DC1",
                "item": ITEM,
                "qty": "1",
                "uom": "EA",
                "status": "usable",
                "occurred_at": "2026-01-02T09:00:00Z",
            }
        ).encode()
        for n in range(1, 3_001)
    ]
    running.send("wms", receipts)
    running.app.start()
    wait(lambda: running.app.watch.fates()["promise"].parked == 3_000)
    found = running.client.get("/v1/operations").json()["waiting"]
    assert sum(row["events"] for row in found) == 3_000
    assert running.client.get("/readyz").status_code == 200
    running.send("erp", master())
    assert wait(lambda: atp(running) == 3_000)
    assert running.client.get("/v1/operations").json()["waiting"] == []
    assert running.app.watch.fates()["promise"].dead_lettered == 0
