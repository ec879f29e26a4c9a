"""Each route and each error of the HTTP API, over fake ports."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.api.app import create_api, create_health_api
from connectors.api.ports import Busy, CommandResponse, Readiness
from connectors.api.staleness import HEADER
from tests.support.api_fakes import BUSY, REUSED, Client, Fake, entry, ports


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def client(fake: Fake) -> Client:
    return Client(create_api(ports(fake)))


def body(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return json.loads(response.text, parse_float=Decimal)


def problem(response: httpx.Response, status: int) -> str:
    """Every error is problem+json with its status, and says something."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert len(document["detail"]) > 10
    return str(document["detail"])


def test_atp_shows_exact_numbers_in_units_never_thousandths(client: Client) -> None:
    shown = body(client.get("/v1/atp/A/1"))
    assert shown["atp"] == Decimal("21.211")
    assert shown["sites"][0]["demand"] == 3
    assert isinstance(shown["sites"][0]["demand"], int)
    assert shown["as_of"] == "2026-11-02T09:14:07.123Z"
    assert shown["freshness"]["sources"] == [{"source": "raw.wms", "waiting_records": 2, "as_of": "1970-01-01T00:00:00.000Z"}]
    assert "milli" not in json.dumps(shown, default=str)


def test_an_item_may_have_a_slash_and_an_unknown_one_is_404(client: Client) -> None:
    assert body(client.get("/v1/atp/A%2F1"))["item"] == "A/1"
    assert "not known" in problem(client.get("/v1/atp/nope"), 404)


def test_atp_parameters_reach_the_quote_and_are_bounded(client: Client) -> None:
    shown = body(client.get("/v1/atp/A/1?policy=projected&channel=web&site=DC1&from=2026-11-02&days=5"))
    assert (shown["policy"], shown["channel"]) == ("projected", "web")
    assert "query/days" in problem(client.get("/v1/atp/A/1?days=181"), 422)
    assert "query/from" in problem(client.get("/v1/atp/A/1?from=soon"), 422)
    problem(client.get("/v1/atp/A/1?site=Mars"), 404)


def test_pages_are_bounded_and_carry_a_cursor(client: Client) -> None:
    assert body(client.get("/v1/atp?limit=1"))["next"] == "A/1"
    assert body(client.get("/v1/atp?limit=1&after=A/1")) == {"items": [], "next": None}
    problem(client.get("/v1/atp?limit=1001"), 422)
    problem(client.get("/v1/atp?limit=0"), 422)


def test_explain_adds_the_ledger_up(client: Client, fake: Fake) -> None:
    shown = body(client.get("/v1/items/A/1/explain?limit=2"))
    assert [row["offset"] for row in shown["rows"]] == [2, 3]
    assert shown["next"] == 2
    assert shown["adds_up"] is True
    fake.entries.append((4, entry(0, 1)))
    shown = body(client.get("/v1/items/A/1/explain"))
    assert shown["adds_up"] is False
    wrong = [t for t in shown["totals"] if not t["agrees"]]
    assert wrong == [
        {"site": "DC1", "measure": "on_hand.usable", "ledger": Decimal("24.212"), "present": Decimal("24.211"), "agrees": False}
    ]


def test_check_takes_numbers_and_text(client: Client) -> None:
    lines = [{"item": "A", "qty": 3}, {"item": "B", "qty": "2.5", "uom": "KG", "date": "2026-11-05"}, {"item": "C", "qty": 0.125}]
    shown = body(client.post("/v1/atp/check", json={"lines": lines, "channel": "web"}))
    assert [line["qty"] for line in shown["lines"]] == [3, Decimal("2.5"), Decimal("0.125")]


@pytest.mark.parametrize("qty", [0, -1, "x", 0.0001, 1e40, True, None, [], "NaN", "1e999999"])
def test_wrong_quantities_are_named(client: Client, qty: object) -> None:
    detail = problem(client.post("/v1/atp/check", json={"lines": [{"item": "A", "qty": qty}]}), 422)
    assert detail.startswith("body/lines/0/qty:")


def test_calculate_is_the_formula_alone_and_keeps_numbers_exact(client: Client) -> None:
    asked = (
        b'{"policy": "projected", "days": 3, "opening": 20, "safety_stock": 0.1, "supply": {"2": 10.25}, "demand": {"0": "3"}}'
    )
    shown = body(client.post("/v1/atp/calculate", content=asked, headers={"Content-Type": "application/json"}))
    assert shown["atp"] == [Decimal("16.9"), Decimal("16.9"), Decimal("27.15")]


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"days": 0}, "body/days"),
        ({"days": 181}, "body/days"),
        ({"policy": "hope"}, "body/policy"),
        ({"supply": {"3": 1}}, "supply names day 3"),
        ({"supply": {"-1": 1}}, "body/supply"),
        ({"extra": 1}, "body/extra"),
    ],
)
def test_calculate_names_what_is_wrong(client: Client, change: dict[str, Any], at: str) -> None:
    asked = {"policy": "lookahead", "days": 3, "opening": 1} | change
    assert at in problem(client.post("/v1/atp/calculate", json=asked), 422)


RESERVE = {"item": "A/1", "qty": "2", "channel": "web", "ttl_s": 60}


def test_a_reservation_hands_the_command_on_and_answers_where_it_is(client: Client, fake: Fake) -> None:
    response = client.post("/v1/reservations", json=RESERVE, headers={"Idempotency-Key": "k"})
    assert body(response, 201)["reservation_id"] == "r1"
    assert response.headers["location"] == "/v1/reservations/r1"
    assert (fake.commands[0].qty_milli, fake.commands[0].ttl_ms, fake.commands[0].key) == (2_000, 60_000, "k")


def test_the_body_hash_is_of_the_meaning_not_of_the_spelling(client: Client, fake: Fake) -> None:
    for qty in ("2", 2, "2.000", "3"):
        client.post("/v1/reservations", json=RESERVE | {"qty": qty}, headers={"Idempotency-Key": "k"})
    hashes = [command.body_hash for command in fake.commands]
    assert len({*hashes[:3]}) == 1
    assert hashes[3] != hashes[0]


def test_reservation_answers_other_than_held_are_problems(client: Client, fake: Fake) -> None:
    assert "Idempotency-Key" in problem(client.post("/v1/reservations", json=RESERVE), 400)
    headers = {"Idempotency-Key": "k"}
    fake.answer = CommandResponse(409, {"detail": "Only 1 is available.", "available": 1})
    response = client.post("/v1/reservations", json=RESERVE, headers=headers)
    assert problem(response, 409) == "Only 1 is available."
    assert response.json()["available"] == 1
    fake.answer = BUSY
    response = client.post("/v1/reservations", json=RESERVE, headers=headers)
    assert "again" in problem(response, 504)
    assert response.headers["retry-after"] == "1"
    fake.answer = Busy("The log is closed", "Send it again.")
    problem(client.post("/v1/reservations", json=RESERVE, headers=headers), 503)
    fake.answer = REUSED
    assert "new Idempotency-Key" in problem(client.post("/v1/reservations", json=RESERVE, headers=headers), 422)
    problem(client.post("/v1/reservations", json=RESERVE | {"ttl_s": 0}, headers=headers), 422)


def test_a_hold_is_given_back(client: Client) -> None:
    assert body(client.delete("/v1/reservations/r1")) == {"state": "released"}


def test_an_order_is_taken_as_it_was_written(client: Client, fake: Fake) -> None:
    written = b'{"channel": "web",  "lines": [{"qty": 1.10}]}'
    response = client.post("/v1/orders", content=written, headers={"Content-Type": "application/json"})
    assert body(response, 202)["order_id"] == "web:W/1"
    assert response.headers["location"] == "/v1/orders/web:W%2F1"
    assert fake.taken == [("order", [written])]
    assert body(client.get(response.headers["location"]))["status"] == "allocated"


def test_orders_that_cannot_be_are_refused_with_the_translators_words(client: Client) -> None:
    assert "customer is missing" in problem(client.post("/v1/orders", json={"customer": "bad"}), 422)
    problem(client.post("/v1/orders", json=[1]), 422)
    problem(client.get("/v1/orders/web:none"), 404)
    problem(client.get("/v1/orders/web:none/trace"), 404)


def test_cancel_and_trace(client: Client) -> None:
    assert body(client.post("/v1/orders/web:W/1/cancel"), 202)["order_id"] == "web:W/1"
    assert body(client.post("/v1/orders/web:W/1/cancel", json={"line": 2, "reason": "x"}), 202)
    problem(client.post("/v1/orders/web:none/cancel", json={}), 404)
    problem(client.post("/v1/orders/web:W/1/cancel", json={"line": 9}), 409)
    shown = body(client.get("/v1/orders/web:W/1/trace"))
    assert shown["events"][0]["type"] == "LedgerEntry"
    assert body(client.get("/v1/orders"))["orders"][0]["order_id"] == "web:W/1"


def test_what_became_of_a_change_can_be_read(client: Client) -> None:
    sent = client.post("/v1/orders/web:W/1/cancel", json={})
    assert body(sent, 202) == {"order_id": "web:W/1", "change": "c/7", "trace_id": "raw.channel.web/0/1"}
    outcome = body(client.get(sent.headers["location"]), 200)
    assert (outcome["outcome"], outcome["hint"]) == ("refused", "Refuse the delivery")
    assert body(client.get("/v1/orders/web:W/1/changes"), 200)["changes"] == [outcome]
    problem(client.get("/v1/orders/web:W/1/changes/none"), 404)
    problem(client.get("/v1/orders/web:none/changes"), 404)


def test_a_held_order_is_released_by_somebody(client: Client, fake: Fake) -> None:
    released = client.post("/v1/orders/web:W/1/release", json={"person": "dana"})
    assert body(released, 202) == {"order_id": "web:W/1", "change": "api:7", "trace_id": "order.inbox.v1/0/1"}
    assert released.headers["location"] == "/v1/orders/web:W%2F1/changes/api:7"
    request = {"person": "dana", "reason": "credit_limit", "note": "paid"}
    assert body(client.post("/v1/orders/web:W/1/release", json=request), 202)
    assert fake.worked == [("web:W/1", "", "dana", ""), ("web:W/1", "credit_limit", "dana", "paid")]
    problem(client.post("/v1/orders/web:none/release", json={"person": "dana"}), 404)
    assert "held for credit_limit" in problem(client.post("/v1/orders/web:W/1/release", json=request | {"reason": "x"}), 409)
    assert "body/person" in problem(client.post("/v1/orders/web:W/1/release", json={}), 422)


def test_a_customer_shows_what_is_held_and_what_the_crm_says(client: Client) -> None:
    shown = body(client.get("/v1/customers/C/1"))
    assert (shown["customer"], shown["is_known"], shown["erp"], shown["held"]) == ("C/1", False, None, 1)
    assert shown["open_amount"] == Decimal("12.50")
    assert shown["held_orders"][0]["reason"] == "unknown_customer"
    assert shown["contacts"] == [{"field": "email", "value": "ap@acme.example", "at": "1970-01-01T00:00:00.000Z"}]
    assert "not known" in problem(client.get("/v1/customers/nobody"), 404)


@pytest.mark.parametrize(
    ("content", "media", "messages"),
    [
        (b'{"a": 1.10}', "application/json", [b'{"a": 1.10}']),
        (b'[{"a":1}, {"b": 2.50}]', "application/json; charset=utf-8", [b'{"a":1}', b'{"b": 2.50}']),
        (b'{"a":1}\n\n{"b":2}\n', "application/x-ndjson", [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n{"b":2}', "application/json", [b'{"a":1}', b'{"b":2}']),
    ],
)
def test_ingest_takes_a_document_an_array_or_lines(
    client: Client, fake: Fake, content: bytes, media: str, messages: list[bytes]
) -> None:
    shown = body(client.post("/v1/ingest/wms", content=content, headers={"Content-Type": media}), 202)
    assert shown["count"] == len(messages)
    assert fake.taken == [("wms", messages)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"[]", "no message"),
        (b'{"a":', "not JSON"),
        (b'{"a":1}\n{"b":}', "Line 2"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b"[" * 200_000, "deeply"),
        (b'{"a":' * 200_000, "deeply"),
        (b'{"a": NaN}', "NaN"),
        (b"1" * 5_000, "not JSON"),
    ],
)
def test_ingest_refuses_what_is_not_json_and_takes_nothing(client: Client, fake: Fake, content: bytes, says: str) -> None:
    detail = problem(client.post("/v1/ingest/wms", content=content, headers={"Content-Type": "application/json"}), 400)
    assert says in detail
    assert fake.taken == []


def test_an_unknown_source_names_the_known_ones(client: Client) -> None:
    assert "erp, wms" in problem(client.post("/v1/ingest/tms", json={}), 404)


@pytest.mark.parametrize(
    ("path", "size"), [("/v1/orders", 1_000_001), ("/v1/ingest/wms", 10_000_000), ("/v1/atp/check", 10_000_000)]
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_are_bounded(client: Client, path: str, size: int, is_chunked: bool) -> None:
    content = b"[" + b" " * size + b"]"
    chunks = (content[at : at + 65_536] for at in range(0, len(content), 65_536))
    response = client.post(path, content=chunks if is_chunked else content, headers={"Content-Type": "application/json"})
    assert "larger than" in problem(response, 413)


def test_bodies_that_are_no_json_document(client: Client) -> None:
    for content, status in (
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b"Infinity", 400),
        (b"", 422),
        (b"[]", 422),
        (b"1e999999999", 400),
    ):
        problem(client.post("/v1/atp/check", content=content, headers={"Content-Type": "application/json"}), status)
    for path in ("/v1/atp/check", "/v1/orders", "/v1/ingest/wms"):
        assert "Content-Type" in problem(client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}), 415)


def test_exceptions_are_listed_by_state_and_worked_on(client: Client, fake: Fake) -> None:
    assert [row["fingerprint"] for row in body(client.get("/v1/exceptions"))["exceptions"]] == ["f1", "f3"]
    assert [row["fingerprint"] for row in body(client.get("/v1/exceptions?state=resolved"))["exceptions"]] == ["f2"]
    page = body(client.get("/v1/exceptions?state=all&limit=2"))
    assert page["next"] == "f2"
    assert len(body(client.get("/v1/exceptions?state=all&after=f2"))["exceptions"]) == 1
    assert body(client.get("/v1/exceptions/f1"))["count"] == 2
    assert body(client.post("/v1/exceptions/f1/assign", json={"person": "dana"}), 202)
    assert body(client.post("/v1/exceptions/f1/resolve", json={"person": "dana", "note": "counted"}), 202)
    assert fake.worked == [("f1", "assign", "dana", ""), ("f1", "resolve", "dana", "counted")]
    assert body(client.post("/v1/exceptions/f1/replay"), 202) == {"replayed": ["raw.wms/0/4"]}


def test_exception_errors(client: Client) -> None:
    problem(client.get("/v1/exceptions/none"), 404)
    problem(client.get("/v1/exceptions?state=odd"), 422)
    assert "Did you mean 'oversold'?" in problem(client.get("/v1/exceptions?code=oversolt"), 422)
    assert body(client.get("/v1/exceptions?code=waiting")) == {"exceptions": [], "next": None}
    problem(client.post("/v1/exceptions/none/assign", json={"person": "dana"}), 404)
    problem(client.post("/v1/exceptions/f1/assign", json={"person": ""}), 422)
    problem(client.post("/v1/exceptions/f1/resolve", json={"person": "dana"}), 422)
    problem(client.post("/v1/exceptions/f2/replay"), 409)


def test_tables(client: Client) -> None:
    assert body(client.get("/v1/tables")) == {"tables": ["promise.items"]}
    assert body(client.get("/v1/tables/promise.items"))["rows"][0]["row"]["usable"] == Decimal("24.211")
    assert body(client.get("/v1/tables/promise.items/A/1"))["rows"][0]["key"] == "A/1"
    packed = body(client.get("/v1/tables/promise.items?form=packed&limit=1"))
    assert packed == {"table": "promise.items", "rows": [{"key": "QQ==", "row": "gA=="}], "next": "0/QQ=="}
    problem(client.get("/v1/tables/promise.items?form=odd"), 422)
    problem(client.get("/v1/tables/promise.items/none"), 404)
    assert "promise.items" in problem(client.get("/v1/tables/none"), 404)


def test_health_and_metrics(client: Client, fake: Fake) -> None:
    assert body(client.get("/healthz"))["checks"] == {"workers": "running"}
    assert body(client.get("/readyz"))["is_ready"] is True
    text = client.get("/metrics").text
    assert 'crossdock_http_request_seconds_count{method="GET",route="/healthz",status="200"} 1.0' in text
    fake.readiness = Readiness(is_ready=False, is_live=False, checks={"workers": "promise halted"})
    problem(client.get("/healthz"), 503)
    problem(client.get("/readyz"), 503)


def test_a_process_that_serves_nothing_else_tells_its_health_only(fake: Fake) -> None:
    offered = ports(fake)
    client = Client(create_health_api(offered.health, offered.registry))
    assert body(client.get("/healthz"))["checks"] == {"workers": "running"}
    assert body(client.get("/readyz"))["is_ready"] is True
    assert 'crossdock_http_request_seconds_count{method="GET",route="/readyz",status="200"} 1.0' in client.get("/metrics").text
    for path in ("/", "/v1/atp/A/1", "/docs", "/openapi.json"):
        problem(client.get(path), 404)
    problem(client.get("/readyz", headers={"Host": "evil.example"}), 421)
    fake.readiness = Readiness(is_ready=False, is_live=False, checks={"workers": "promise halted"})
    assert "A thread has ended" in problem(client.get("/healthz"), 503)


def test_endpoints_are_shown_as_they_stand(client: Client) -> None:
    (row,) = body(client.get("/v1/endpoints"))["endpoints"]
    assert (row["endpoint"], row["circuit"], row["waiting"]) == ("wms", "open", 2)
    assert (row["oldest_at"], row["retry_at"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:02.000Z")


def test_the_framework_answers_in_problems_too(client: Client, fake: Fake) -> None:
    problem(client.get("/nope"), 404)
    problem(client.put("/v1/orders", json={}), 405)
    fake.rows = None  # type: ignore[assignment]
    assert "defect" in problem(client.get("/v1/atp/A/1"), 500)


def test_other_hosts_names_and_other_sites_pages_stay_out(client: Client) -> None:
    problem(client.get("/v1/atp", headers={"Host": "evil.example:8080"}), 421)
    problem(client.delete("/v1/reservations/r", headers={"Origin": "http://evil.example"}), 403)
    assert client.delete("/v1/reservations/r", headers={"Origin": "http://localhost:8080"}).status_code == 200


def test_openapi_is_served_with_examples(client: Client) -> None:
    document = body(client.get("/openapi.json"))
    assert "/v1/reservations" in document["paths"]
    assert document["components"]["schemas"]["CalculateIn"]["examples"]
    assert "swagger" in client.get("/docs").text.lower()


def test_a_signed_call_is_taken_and_an_unsigned_one_is_not() -> None:
    """The body goes on as it came; what is not signed is answered 401, a channel that may not call 404."""
    client = Client(create_api(ports(Fake())))
    signed = client.request("POST", "/v1/webhooks/web", b"anything", headers={"X-Webhook-Signature": "right"})
    assert (signed.status_code, signed.json()["trace_id"]) == (202, "raw.channel.web/0/8")
    unsigned = client.request("POST", "/v1/webhooks/web", b"anything")
    assert (unsigned.status_code, unsigned.headers["content-type"]) == (401, "application/problem+json")
    assert client.request("POST", "/v1/webhooks/fax", b"anything").status_code == 404


def test_what_is_read_says_how_stale_it_may_be_unless_that_is_not_known(client: Client, fake: Fake) -> None:
    read = ("/v1/atp/A/1", "/v1/atp/nope", "/v1/orders", "/v1/tables")
    fake.stale = 1_200
    assert [client.get(path).headers[HEADER] for path in read] == ["1200"] * len(read)
    assert HEADER not in client.get("/healthz").headers
    fake.stale = None
    assert HEADER not in client.get("/v1/orders").headers


def test_the_header_is_in_the_openapi_document_of_what_is_read(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/atp/{item}", "/v1/orders/{order_id}", "/v1/tables/{table}/{key}"):
        assert "newest" in paths[path]["get"]["responses"]["200"]["headers"][HEADER]["description"]
    assert "headers" not in paths["/v1/orders"]["post"]["responses"]["202"]


def test_what_the_log_cannot_serve_is_asked_for_again(fake: Fake) -> None:
    class Away(Exception):
        """As a log raises it."""

    fake.answer = Away("the rows of promise/3 are being read")
    client = Client(create_api(replace(ports(fake), away=(Away,))))
    request = {"item": "A/1", "qty": 1, "channel": "web", "ttl_s": 60}
    answer = client.post("/v1/reservations", json=request, headers={"Idempotency-Key": "k"})
    assert "promise/3 are being read. Try again" in problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
