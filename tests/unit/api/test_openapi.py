"""The API against its own OpenAPI document: whatever is sent, the answer is one it declares, and never a 500."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from connectors.api.app import create_api
from tests.support.api_fakes import Client, Fake, ports

APP = create_api(ports(Fake()))
SCHEMA = schemathesis.openapi.from_dict(Client(APP).get("/openapi.json").json())
SCHEMA.app = APP


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """One document a line."""
    documents = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(document).encode() for document in documents)


@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_request_gets_a_declared_answer(case: schemathesis.Case[Any]) -> None:
    """No crash, no undeclared status, no undeclared content type."""
    checks = [not_a_server_error, status_code_conformance, content_type_conformance]
    case.call_and_validate(headers={"Host": "127.0.0.1"}, checks=checks)


@SCHEMA.parametrize()
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_what_the_schema_allows_is_understood(case: schemathesis.Case[Any]) -> None:
    """What is required, and what may be in a field, is in the document; days beyond the horizon are said in words alone."""
    answer = case.call(headers={"Host": "127.0.0.1"})
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and case.path not in BEYOND_A_SCHEMA:
        assert answer.status_code not in {400, 415, 422}, answer.text


def test_the_document_names_the_channels_there_are() -> None:
    document = Client(create_api(replace(ports(Fake()), channels=("web", "edi")))).get("/openapi.json").json()
    channels = {"type": "string", "enum": ["web", "edi"]}
    (channel,) = [p for p in document["paths"]["/v1/atp/{item}"]["get"]["parameters"] if p["name"] == "channel"]
    assert channel["schema"] == channels
    models = document["components"]["schemas"]
    assert models["ReserveIn"]["properties"]["channel"] == channels
    assert channels in models["CheckIn"]["properties"]["channel"]["anyOf"]
    assert {"404", "422"} <= document["paths"]["/v1/atp/check"]["post"]["responses"].keys()
    assert {"404", "422"} <= document["paths"]["/v1/atp/{item}"]["get"]["responses"].keys()


def test_the_document_names_the_codes_an_exception_can_have() -> None:
    (code,) = [p for p in SCHEMA.raw_schema["paths"]["/v1/exceptions"]["get"]["parameters"] if p["name"] == "code"]
    assert code["schema"] == {"type": "string", "enum": ["oversold", "waiting"]}


BEYOND_A_SCHEMA = {"/v1/atp/calculate"}  # a day index is below `days`
