"""The routes for what stands: seen as it is, skipped and resumed with who and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.api.app import create_api
from connectors.api.ports import Readiness
from tests.support.api_fakes import Client, Fake, FakeInterventions, ports

RECORD = "promise.inbox.v1/2/7"


@pytest.fixture
def done() -> FakeInterventions:
    return FakeInterventions()


@pytest.fixture
def client(done: FakeInterventions) -> Client:
    return Client(create_api(replace(ports(Fake()), interventions=done)))


def test_what_stands_is_shown_with_its_exit_and_since_when(client: Client) -> None:
    found = client.get("/v1/operations").json()
    assert found["halted"][0]["exit"] == "crossdock skip ..."
    assert found["paused"][0] | {"reason": ""} == {
        "source": "wms",
        "flow": "translate.wms",
        "record": "raw.wms/0/9",
        "reason": "",
        "since": "1970-01-01T00:00:01.000Z",
    }
    assert (found["waiting"][0]["events"], found["waiting"][0]["since"]) == (3, "1970-01-01T00:00:02.000Z")
    assert found["limits"]["sources"] == {"wms": [50, 0.5]}


def test_a_record_is_skipped_and_a_source_resumed_by_somebody_for_a_reason(client: Client, done: FakeInterventions) -> None:
    skipped = client.post("/v1/operations/skip", json={"record": RECORD, "person": "ada", "reason": "by hand"})
    assert (skipped.status_code, skipped.json()) == (202, {"record": RECORD, "action": "skip"})
    resumed = client.post("/v1/operations/resume", json={"source": "wms", "person": "bob", "reason": "corrected"})
    assert (resumed.status_code, resumed.json()) == (202, {"source": "wms", "action": "resume"})
    settled = client.post("/v1/operations/settle", json={"table": "item", "person": "eve", "reason": "it streams"})
    assert (settled.status_code, settled.json()) == (202, {"table": "item", "history": 9_000, "action": "settle"})
    assert done.done == [(RECORD, "ada", "by hand"), ("wms", "bob", "corrected"), ("item", "eve", "it streams")]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("skip", {"record": "raw.wms/0/1", "person": "ada", "reason": "x"}, 404),
        ("skip", {"record": "raw.wms/0", "person": "ada", "reason": "x"}, 422),
        ("skip", {"record": RECORD, "person": "ada", "reason": ""}, 422),
        ("skip", {"record": RECORD, "reason": "x"}, 422),
        ("skip", {"record": RECORD, "person": "ada", "reason": "x", "offset": 7}, 422),
        ("resume", {"source": "erp", "person": "ada", "reason": "x"}, 409),
        ("resume", {"source": "", "person": "ada", "reason": "x"}, 422),
        ("resume", {"source": "wms", "person": "", "reason": "x"}, 422),
        ("settle", {"table": "invoices", "person": "ada", "reason": "x"}, 404),
        ("settle", {"table": "site", "person": "ada", "reason": "x"}, 409),
        ("settle", {"table": "Item; drop", "person": "ada", "reason": "x"}, 422),
        ("settle", {"table": "item", "person": "ada", "reason": ""}, 422),
    ],
)
def test_what_cannot_be_is_refused(client: Client, done: FakeInterventions, path: str, body: dict[str, str], status: int) -> None:
    answer = client.post(f"/v1/operations/{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert done.done == []


def test_the_routes_are_in_the_openapi_document(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/operations", "/v1/operations/skip", "/v1/operations/resume"} <= document["paths"].keys()
    assert document["components"]["schemas"]["SkipIn"]["required"] == ["record", "person", "reason"]


def test_readiness_says_what_stands_and_what_to_do() -> None:
    fake = Fake()
    fake.readiness = Readiness(
        is_ready=False, is_live=True, says="Part of the work stands. promise stands at x: crossdock skip x"
    )
    client = Client(create_api(ports(fake)))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json()["detail"].endswith("crossdock skip x")


def test_fields_nobody_reads_are_shown_with_what_to_do(client: Client) -> None:
    assert client.get("/v1/sources/unknown-fields").json() == {
        "fields": [
            {
                "source": "wms",
                "message": "stock.received",
                "field": "expires_one",
                "count": 3,
                "example": "raw.wms/0/9",
                "meant": "expires_on",
                "advice": "Did you mean expires_on?",
                "is_warning": True,
                "since": "1970-01-01T00:00:01.000Z",
                "last_at": "1970-01-01T00:00:02.000Z",
            }
        ]
    }
