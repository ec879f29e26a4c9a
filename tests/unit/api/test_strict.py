"""What a request says and a route does not know is refused, on every route there is; ids in paths mean what they say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from connectors.api.app import create_api, create_health_api
from connectors.api.console.ports import Console
from connectors.api.ports import NotKnown
from connectors.api.strict import REFUSES_ALL, StrictRoute, query_names
from connectors.channels.orders.schema import document_schema
from connectors.texts import is_id, unknown, visible, visible_json
from streams.commands.api_commands import WebhookIntake
from streams.engine.memory.log import MemoryLog
from tests.support.api_fakes import Client, Fake, ports
from tests.support.console_fakes import FakeDemo, FakeLive


def app_of() -> FastAPI:
    made = ports(Fake())
    object.__setattr__(made, "console", Console(FakeLive(), FakeDemo()))
    return create_api(made)


APP = app_of()
HEALTH = create_health_api(Fake(), ports(Fake()).registry)
DOCUMENTATION = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/static-offline-docs"}
HEADERS = {"Idempotency-Key": "k", "X-Crossdock-Page": "1", "X-Webhook-Signature": "right"}


def routes_of(app: FastAPI) -> list[tuple[str, str, Any]]:
    """Every method, path and route there is."""
    found = []
    for context in iter_route_contexts(app.routes):
        if context.path not in DOCUMENTATION:
            found += [(method, str(context.path), context.original_route) for method in sorted(context.methods or ())]
    return found


ROUTES = routes_of(APP) + routes_of(HEALTH)
IDS = [f"{method} {path}" for method, path, _ in ROUTES]


def filled(path: str) -> str:
    """A path with something in place of its parameters."""
    names = {"{source}": "wms", "{channel}": "web", "{name}": "icon.svg", "{table}": "promise.items", "{number}": "1"}
    for name, value in names.items():
        path = path.replace(name, value)
    return "/".join("web:W1" if part.startswith("{") else part for part in path.split("/"))


def detail(response: Any, status: int = 422) -> str:
    body = response.json()
    assert response.status_code == status, body
    return str(body.get("detail") or body["message"])


def test_there_is_more_than_a_handful_of_routes_and_all_are_strict() -> None:
    """A route made without the class would not be."""
    assert len(ROUTES) > 45
    assert [name for name, (_, _, route) in zip(IDS, ROUTES, strict=True) if not isinstance(route, StrictRoute)] == []


@pytest.mark.parametrize(("method", "path", "route"), ROUTES, ids=IDS)
def test_every_route_refuses_a_query_parameter_it_does_not_know(method: str, path: str, route: APIRoute) -> None:
    """`?customer=` never returns everyone's; and what was probably meant is said."""
    client = Client(HEALTH if (method, path, route) in routes_of(HEALTH) else APP)
    sent: dict[str, Any] = (
        {"headers": HEADERS | {"Content-Type": "application/json"}} if method != "GET" else {"headers": HEADERS}
    )
    response = client.request(method, f"{filled(path)}?customre=C1", content=b"{}" if method == "POST" else None, **sent)
    if REFUSES_ALL in (route.openapi_extra or {}):
        assert response.status_code in {404, 422}
        return
    assert "'customre'" in detail(response)
    for name in query_names(route):
        if len(name) > 3:
            near = client.request(method, f"{filled(path)}?{name[:-2]}{name[-1]}{name[-2]}x=1", **sent)
            assert "Did you mean" in detail(near)
        twice = client.request(method, f"{filled(path)}?{name}=1&{name}=2", **sent)
        assert "more than once" in detail(twice)


@pytest.mark.parametrize(("method", "path", "route"), ROUTES, ids=IDS)
def test_every_route_refuses_a_body_it_does_not_understand(method: str, path: str, route: APIRoute) -> None:
    """No body where none is taken; no number, text or list, and no unknown field, where a document is."""
    if method == "GET" or REFUSES_ALL in (route.openapi_extra or {}) or path == "/v1/ingest/{source}" or "webhooks" in path:
        return  # the last two take the documents of others as they are
    for body in ({"ship_too": 1}, 5.5, [5.5], "text", {"ship_too": {"line": 1}}):
        response = Client(APP).request(method, filled(path), json=body, headers=HEADERS)
        assert 400 <= response.status_code < 500, (body, response.text)
        if isinstance(body, dict) and route.body_field is not None:
            assert "ship_too" in detail(response)
    twice = Client(APP).request(
        method, filled(path), content=b'{"reason": "a", "reason": "b"}', headers={**HEADERS, "Content-Type": "application/json"}
    )
    assert twice.status_code in {400, 404, 422}, twice.text


def test_a_number_is_not_a_wish_to_cancel_everything() -> None:
    for body in (b"5.5", b"5", b"[]", b'"all"', b"true", b"1e3"):
        response = Client(APP).post("/v1/orders/web:W%2F1/cancel", content=body, headers={"Content-Type": "application/json"})
        assert detail(response).startswith("body")
    assert Client(APP).post("/v1/orders/web:W%2F1/cancel").status_code == 202
    assert Client(APP).post("/v1/orders/web:W%2F1/cancel", json={}).status_code == 202


def test_unknown_fields_are_named_with_what_was_meant_at_any_depth() -> None:
    client = Client(APP)
    said = detail(client.post("/v1/atp/check", json={"lines": [{"item": "A", "quantity": 1}]}))
    assert "body/lines/0/quantity" in said
    assert "There are: date, item, qty, site, uom" in said
    said = detail(client.post("/v1/reservations", json={"item": "A", "qty": 1, "chanel": "web"}, headers=HEADERS))
    assert "Did you mean 'channel'?" in said


@pytest.mark.parametrize("reference", ["W/1", "K1/trace", "K1/cancel", "50%", "a%2Fb", "Müller 1", "..", "x?y#z"])
def test_ids_in_paths_are_percent_encoded_and_mean_one_thing(reference: str) -> None:
    """`web:K1/trace` is not the trace of `web:K1` when its slash is encoded."""
    app, asked = create_api(ports(fake := Fake())), f"web:{reference}"
    seen: list[str] = []
    fake.status = seen.append  # type: ignore[method-assign, assignment]
    for path in ("", "/trace"):
        Client(app).get(f"/v1/orders/{quote(asked, safe='')}{path}")
        assert seen.pop() == asked
    if "/" not in reference:
        return
    Client(app).get("/v1/orders/web:K1/trace")
    assert seen.pop() == "web:K1"


def test_a_path_that_is_no_text_or_holds_what_no_id_does_is_refused() -> None:
    client = Client(APP)
    assert "UTF-8" in detail(client.get("/v1/orders/%ff"), 400)
    for bad in ("%1b%5b31m", "a%00", "%E2%80%AEabc", "x" * 1_001):
        assert detail(client.get(f"/v1/orders/{bad}")).startswith("path/order_id")
        assert detail(client.delete(f"/v1/reservations/{bad}")).startswith("path/reservation_id")
    assert client.get("/v1/orders/a%0Ab").status_code == 404


def test_an_order_document_is_read_whole_or_not_taken() -> None:
    """`ship_to` does not vanish with a 202, at whatever depth it stands."""
    line = {"line": 1, "item": "A", "qty": "1"}
    order = {"channel": "web", "external_ref": "1", "customer": "C", "placed_at": "2026-11-02T09:00:00Z", "lines": [line]}
    client = Client(APP)
    assert client.post("/v1/orders", json=order).status_code == 202
    for name, wrong, meant in (
        ("ship_to", order | {"ship_to": {"street": "x"}}, "There are: "),
        ("custumer", order | {"custumer": "C"}, "Did you mean 'customer'?"),
        ("policy.substitutes", order | {"policy": {"substitutes": True}}, "Did you mean 'substitute'?"),
        ("lines[0].quantity", order | {"lines": [line | {"quantity": 5}]}, "There are: "),
        ("lin", {"channel": "web", "external_ref": "1", "change": "cancel_line", "line": 1, "lin": 2}, "Did you mean 'line'?"),
    ):
        said = detail(client.post("/v1/orders", json=wrong))
        assert f"body: {name} is not known" in said
        assert meant in said


def test_texts() -> None:
    """One idea of what an id is, and of how what cannot be seen is shown."""
    assert is_id("00010000") and is_id("Müller/1") and is_id("商品-1")
    assert not any(map(is_id, ("", "a\x1b", "a\u202eb", "a\u2028", "\ufeffA", "x" * 201)))
    assert visible("a\x1b[2Jb\u202e\n\tc\x9b") == "a\\x1b[2Jb\\u202e\n\tc\\x9b"
    shown = visible_json('{"a": "\u202eb"}')
    assert shown.isascii()
    assert json.loads(shown) == {"a": "\u202eb"}
    assert unknown("field", "ship_to", ["site", "customer"]) == "There is no field 'ship_to' here. There are: customer, site."
    assert "Did you mean 'customer'?" in unknown("query parameter", "Custmer", ["site", "customer"])
    assert "at all" in unknown("query parameter", "x", [])


def test_a_path_says_all_the_methods_it_allows() -> None:
    for method, path, allowed in (
        ("PUT", "/v1/orders", "GET, POST"),
        ("DELETE", "/v1/orders/web:1", "GET"),
        ("PATCH", "/v1/reservations/x", "DELETE"),
        ("GET", "/v1/atp/calculate/x/y", None),
        ("DELETE", "/v1/exceptions", "GET"),
    ):
        answer = Client(APP).request(method, path)
        if allowed is None:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 405
            assert set(allowed.split(", ")) <= set(answer.headers["Allow"].split(", "))


def test_methods_nobody_knows_make_no_series() -> None:
    made = ports(Fake())
    client = Client(create_api(made))
    for n in range(50):
        client.request(f"ZAP{n}", f"/nowhere/{n}")
    text = client.get("/metrics").text
    assert "ZAP" not in text
    assert 'method="other",route="none"' in text


def test_who_calls_a_wrong_webhook_learns_no_other() -> None:
    """Names of channels are not for those who have shown no signature."""
    intake = WebhookIntake(MemoryLog(), {"secretive": b"s" * 8})
    with pytest.raises(NotKnown) as error:
        intake.accept("shop", b"{}", "")
    assert "secretive" not in str(error.value)


def test_an_order_documents_schema_says_what_is_required() -> None:
    schema = document_schema(("web", "edi"))
    order = schema["anyOf"][0]
    assert order["required"] == ["channel", "external_ref", "customer", "lines"]
    assert order["properties"]["channel"]["enum"] == ["web", "edi"]
    assert order["additionalProperties"] is False
    assert order["properties"]["lines"]["items"]["additionalProperties"] is False
    assert "$ref" not in json.dumps(schema)
    document = Client(APP).get("/openapi.json").json()
    reserve = document["paths"]["/v1/reservations"]["post"]["parameters"]
    assert [p["required"] for p in reserve if p["name"] == "idempotency-key"] == [True]
    assert document["components"]["schemas"]["CalculateIn"]["properties"]["policy"]["enum"]


def test_a_name_twice_in_an_object_is_refused() -> None:
    sent = {"headers": HEADERS | {"Content-Type": "application/json"}}
    answer = Client(APP).post("/v1/reservations", content=b'{"item": "A", "item": "B", "qty": 1, "channel": "web"}', **sent)
    assert "twice" in detail(answer, 400)
