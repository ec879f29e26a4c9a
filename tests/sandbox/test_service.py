"""The sandbox as a process, over real HTTP: killed and started again, away, slow, and losing replies."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.documents import SalesOrderRow
from tests.support.sandbox import as_erp_event, as_wms_events, bill, release, withdrawal
from tests.support.sandbox_service import ROOT, Sandbox, an_extract, started_by, wait_for


class Intake:
    """Where crossdock would listen. `is_away`: answers 503."""

    def __init__(self) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = {"erp": [], "wms": []}
        self.is_away = False
        intake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
                if not intake.is_away:
                    intake.messages[self.path.rsplit("/", 1)[-1]] += [json.loads(line) for line in lines]
                self.send_response(503 if intake.is_away else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def intake() -> Iterator[Intake]:
    intake = Intake()
    yield intake
    intake.close()


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return an_extract(tmp_path_factory.mktemp("made") / "extract")


@pytest.fixture
def start(tmp_path: Path, extract: Path) -> Iterator[Callable[..., Sandbox]]:
    """Starts the sandbox on the test's directory; what still runs at the end is ended."""
    started: list[Sandbox] = []

    def start(*options: str) -> Sandbox:
        started.append(Sandbox(tmp_path, extract, *options))
        return started[-1]

    yield start
    for sandbox in started:
        if sandbox.process.poll() is None:
            sandbox.end()


Start = Callable[..., Sandbox]


def test_an_order_goes_its_way_and_crossdock_understands_all_it_is_told(start: Start, intake: Intake) -> None:
    sandbox = start("--crossdock", intake.url)
    assert sandbox.put("p1").json() == {"order_no": "SO-900001", "revision": 1}
    assert sandbox.call("POST", "/wms/releases", "r1", release((1, "A", "3"))).json() == {}
    wait_for(lambda: intake.messages["wms"][-1:] != [] and intake.messages["wms"][-1]["type"] == "shipment.confirmed")
    answer = sandbox.call("POST", "/wms/withdrawals", "w1", withdrawal((1, "3")))
    assert answer.json() == {"withdrawn": [{"line": 1, "site": "DC1", "qty": "0"}]}
    assert sandbox.call("POST", "/erp/orders/SO-900001/invoices", "i1", bill((1, "3"))).json() == {"invoice_no": "INV-900001"}
    wait_for(lambda: len(intake.messages["erp"]) == 10)
    events = [as_erp_event(message, now()) for message in intake.messages["erp"]]
    assert [event.status for event in events if isinstance(event, SalesOrderRow)][-1] == "INVOICED"
    assert all(as_wms_events(message, now()) for message in intake.messages["wms"])
    assert sandbox.state("erp")["orders"]["WEB/W1"]["status"] == "INVOICED"


def now() -> int:
    return time.time_ns() // 1_000_000


def test_killed_and_started_again_it_knows_everything(start: Start, intake: Intake) -> None:
    sandbox = start()
    first = sandbox.put("p1")
    sandbox.call("POST", "/wms/releases", "r1", release((1, "A", "3")))
    order_state = sandbox.state("erp")["orders"]
    code, _ = sandbox.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    sandbox = start()
    again = sandbox.put("p1")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert sandbox.state("erp")["orders"] == order_state
    assert sandbox.client.post("/control", json={"crossdock": intake.url}).status_code == 200
    wait_for(lambda: sandbox.state("wms")["outbox"] == {"waiting": 0, "sent": 5, "last_error": None})
    wait_for(lambda: sandbox.state("erp")["outbox"] == {"waiting": 0, "sent": 4, "last_error": None})
    assert [m["sequence"] for m in intake.messages["wms"]] == [1, 2, 3, 4, 5]
    code, said = sandbox.end()
    assert code == 0
    assert said.count("\n") == 1
    assert not sandbox.note.exists()


def test_what_crossdock_does_not_take_is_sent_again_in_order(start: Start, intake: Intake) -> None:
    intake.is_away = True
    sandbox = start("--crossdock", intake.url)
    for n in range(5):
        sandbox.put(f"p{n}", f"W{n}")
    wait_for(lambda: "answered 503" in str(sandbox.state("erp")["outbox"]["last_error"]))
    intake.is_away = False
    wait_for(lambda: len(intake.messages["erp"]) == 20)
    lsns = [m["value"]["source"]["lsn"] for m in intake.messages["erp"]]
    assert lsns == sorted(set(lsns))


def test_a_system_that_is_down_does_nothing_until_it_is_up(start: Start, intake: Intake) -> None:
    sandbox = start("--crossdock", intake.url)
    wait_for(lambda: len(intake.messages["wms"]) == 2)
    sandbox.call("POST", "/wms/releases", "r1", release((1, "A", "3")))
    sandbox.control("wms", down=True)
    refused = sandbox.call("POST", "/wms/releases", "r2", release((2, "A", "3")))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert sandbox.client.get("/wms/healthz").status_code == 503
    assert sandbox.client.get("/erp/healthz").status_code == 200
    known = len(intake.messages["wms"])
    time.sleep(0.3)
    assert len(intake.messages["wms"]) == known
    sandbox.control("wms", down=False)
    assert sandbox.call("POST", "/wms/releases", "r2", release((2, "A", "3"))).status_code == 202
    wait_for(lambda: sum(len(m["lines"]) for m in intake.messages["wms"] if m["type"] == "shipment.confirmed") == 2)


def test_a_lost_reply_was_done_and_is_given_again(start: Start) -> None:
    sandbox = start()
    sandbox.control("erp", lose_reply=1)
    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.put("p1")
    sandbox.control("erp", lose_reply=0, slow_ms=50)
    began = time.monotonic()
    answer = sandbox.put("p1")
    assert (answer.status_code, answer.json()) == (201, {"order_no": "SO-900001", "revision": 1})
    assert time.monotonic() - began >= 0.05
    assert sandbox.end()[1].count("\n") == 1


def test_messages_can_be_doubled_and_shuffled_but_not_lost(start: Start, intake: Intake) -> None:
    sandbox = start()
    sandbox.control("erp", duplicate=0.5, shuffle=0.5)
    for n in range(10):
        sandbox.put(f"p{n}", f"W{n}")
    time.sleep(0.2)
    sandbox.client.post("/control", json={"crossdock": intake.url})
    wait_for(lambda: sandbox.state("erp")["outbox"]["sent"] == 40)
    lsns = [m["value"]["source"]["lsn"] for m in intake.messages["erp"]]
    assert len(set(lsns)) == 40 < len(lsns)
    assert lsns != sorted(lsns)


def test_the_crm_and_the_portal_have_a_secret_each(start: Start) -> None:
    sandbox = start("--portal-secret", "other")
    body = {"order_id": "web:W1", "sequence": 1, "status": "shipped", "channel": "web", "external_ref": "W1", "customer": "C-17"}
    content = json.dumps(body | {"at": "2026-11-23T09:00:00Z"}).encode()
    at_s = int(time.time())
    digest = hmac.new(b"sandbox-crm", f"{at_s}.".encode() + content, hashlib.sha256).hexdigest()
    headers = {"X-Crossdock-Signature": f"t={at_s},v1={digest}", "Idempotency-Key": "n1"}
    assert sandbox.client.post("/crm/notices", content=content, headers=headers).status_code == 200
    assert sandbox.client.post("/portal/notices", content=content, headers=headers).status_code == 401
    assert sandbox.state("crm")["orders"]["web:W1"]["status"] == "shipped"


def test_the_marketplace_has_pages(start: Start) -> None:
    client = start().client
    assert client.post("/marketplace/orders", json={"id": "M-1", "items": []}).status_code == 201
    assert client.post("/marketplace/orders/M-1/cancel", json={"reason": "no"}).status_code == 200
    page = client.get("/marketplace/orders", params={"limit": 50}).json()
    assert [list(entry) for entry in page["orders"]] == [["id", "purchased", "items"], ["id", "cancelled", "reason"]]
    assert client.get("/marketplace/orders", params={"after": page["next"]}).json() == {"orders": [], "next": page["next"]}
    assert client.get("/marketplace/orders", params={"limit": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "content", "status", "says"),
    [
        ("/erp/control", b'{"lose_reply": 2}', 422, "lose_reply"),
        ("/erp/control", b'{"sulks": true}', 422, "There are down, slow_ms"),
        ("/erp/control", b"no", 400, "not JSON"),
        ("/control", b"{}", 422, "where crossdock listens"),
        ("/wms/releases", b"{", 400, "not JSON"),
        ("/wms/releases", b"{}", 400, "Idempotency-Key"),
        ("/wms/receipts", b'{"site": "DC1", "item": "X", "qty": "1"}', 422, "not known"),
    ],
)
def test_a_mistake_is_answered_with_its_reason(shared: Sandbox, path: str, content: bytes, status: int, says: str) -> None:
    answer = shared.client.post(path, content=content)
    assert answer.status_code == status
    assert says in answer.json()["reason"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, extract: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("shared"), extract)
    yield sandbox
    sandbox.end()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--extract", "nowhere"), "item_price.json cannot be read"),
        (("--listen", "127.0.0.1:x"), "cannot be used"),
        (("--stock", "many"), "not a number"),
        (("--short", "2"), "less than or equal to 1"),
    ],
)
def test_a_wrong_option_is_a_sentence(tmp_path: Path, extract: Path, options: tuple[str, ...], says: str) -> None:
    command = started_by(tmp_path, extract)
    ran = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    assert ran.returncode == 2
    assert says in " ".join(ran.stderr.replace("│", " ").split())
    assert "Traceback" not in ran.stderr
