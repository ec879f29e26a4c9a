"""The live page's routes over fake ports: its files, its protections, its stream."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from connectors.api.app import create_api
from connectors.api.console import stream
from connectors.api.console.ports import Console
from connectors.api.console.shapes import STAGES, card, warnings
from schemas.frozen import replace
from tables.orders.lifecycle import STATUSES
from tests.support.api_fakes import ORDER, ROW, Client, Fake, ports
from tests.support.console_fakes import FakeDemo, FakeLive

PAGE = {"X-Crossdock-Page": "1"}


def app_of(live: FakeLive, demo: FakeDemo | None = None) -> FastAPI:
    return create_api(dataclasses.replace(ports(Fake()), console=Console(live, demo)))


@pytest.fixture
def client() -> Client:
    return Client(app_of(FakeLive(), FakeDemo()))


def test_the_page_and_all_it_loads_come_from_here_and_no_script_is_in_it(client: Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style", page.text)
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert loaded and all(path.startswith("/") for path in loaded)
    for path in loaded:
        assert client.get(path).status_code == 200, path
    for name in re.findall(r'from "\./(\w+\.js)"', client.get("/console/static/main.js").text):
        assert client.get(f"/console/static/{name}").headers["content-type"].startswith("text/javascript"), name
    assert client.get("/console/static/inter.woff2").headers["content-type"] == "font/woff2"


def test_files_are_not_sent_twice_and_only_its_own_are(client: Client) -> None:
    first = client.get("/console/static/main.js")
    assert client.get("/console/static/main.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert client.get("/console/static/..%2Fpages.py").status_code == 404
    assert client.get("/console/static/none.js").status_code == 404


def test_without_the_port_there_is_no_page_and_without_a_demo_no_button() -> None:
    assert Client(create_api(ports(Fake()))).get("/").status_code == 404
    plain = Client(app_of(FakeLive()))
    assert 'id="demo"' not in plain.get("/").text
    assert plain.post("/console/demo/wms", headers=PAGE).status_code == 404


def test_only_the_page_presses_its_buttons(client: Client) -> None:
    said = client.post("/console/demo/wms", headers=PAGE)
    assert said.json()["said"] == "The WMS is away."
    assert said.json()["actions"][0]["is_on"] is True
    assert client.post("/console/demo/none", headers=PAGE).status_code == 404
    assert client.post("/console/demo/wms").status_code == 403
    for site in ("cross-site", "same-site"):
        assert client.post("/console/demo/wms", headers=PAGE | {"Sec-Fetch-Site": site}).status_code == 403
        assert client.post("/v1/exceptions/f1/assign", json={"person": "x"}, headers={"Sec-Fetch-Site": site}).status_code == 403
    for own in ("same-origin", "none"):
        assert client.post("/console/demo/wms", headers=PAGE | {"Sec-Fetch-Site": own}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "a link to it may be followed"


def test_the_start_is_everything_at_once(client: Client) -> None:
    start = client.get("/console/start").json()
    assert start["cursor"] == "e.0"
    assert [row["id"] for row in start["board"]["allocated"]] == ["web:W/1"]
    assert start["pulse"]["stages"] == dict.fromkeys(STAGES, 0) | {"allocated": 2, "held": 1}
    assert start["pulse"]["feeds"][0]["as_of"] is None
    assert start["pulse"]["actions"][0]["label"] == "WMS down"
    assert start["exceptions"][0]["due_at"] == "1970-01-01T00:00:00.001Z"
    found = client.get("/console/items?find=A%2F1").json()
    assert found["items"][0]["promise"] == 21.211
    assert found["items"][0]["description"] == "a thing"
    assert client.get("/console/items?only=none").status_code == 422


def test_every_status_has_its_column() -> None:
    shown = {status for _, statuses in STAGES.values() for status in statuses}
    assert shown == {name for name, _ in STATUSES} | {"held"}
    assert card(replace(ORDER, status="new to us"))["stage"] == "new"


def test_warnings_say_what_is_wrong_with_a_number() -> None:
    (site,) = ROW.sites
    day = [*site.days]
    assert warnings(ROW) == []
    assert warnings(replace(ROW, suspects=["raw.wms/0/1"], item_status="H")) == ["suspect", "on hold"]
    assert warnings(replace(ROW, sites=[replace(site, usable_milli=-1, days=day)])) == ["negative"]


# --- the stream ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE_S", 0.01)


async def events(viewer: AsyncIterator[bytes], *, until: str) -> list[tuple[str, Any]]:
    """Events up to the first of a name."""
    found: list[tuple[str, Any]] = []
    async for chunk in viewer:
        named = re.match(rb"event: (\w+)\n(?:id: \S+\n)?data: (.*)\n\n$", chunk)
        if named:
            found.append((named[1].decode(), json.loads(named[2])))
            if found[-1][0] == until:
                return found
    return found


def test_a_viewer_gets_the_pulse_and_what_changes(quick: None) -> None:
    live = FakeLive()

    async def watch() -> list[tuple[str, Any]]:
        viewer = stream.Viewers(Console(live)).stream("e.0")
        first = await events(viewer, until="pulse")
        live.at = 1
        return first + await events(viewer, until="changes")

    found = asyncio.run(watch())
    assert [name for name, _ in found if name != "pulse"] == ["changes"]
    assert found[0][1]["backlog_records"] == 3
    assert found[-1][1]["orders"][0]["stage"] == "allocated"


def test_a_viewer_goes_on_where_it_was_and_one_from_another_process_reads_anew(quick: None) -> None:
    live = FakeLive()
    live.at = 5

    async def first(since: str, until: str) -> list[tuple[str, Any]]:
        return await events(stream.Viewers(Console(live)).stream(since), until=until)

    assert asyncio.run(first("e.2", "changes"))[-1][1]["orders"]
    assert asyncio.run(first("other.2", "refresh"))[-1] == ("refresh", {})


def test_many_viewers_cost_what_one_does(quick: None) -> None:
    live = FakeLive()

    async def crowd() -> int:
        viewers = stream.Viewers(Console(live))
        many = [viewers.stream("e.0") for _ in range(50)]
        await asyncio.gather(*(events(each, until="pulse") for each in many))
        before, live.at = live.reads, 1
        seen = await asyncio.gather(*(events(each, until="changes") for each in many))
        assert all(each[-1][0] == "changes" for each in seen)
        return live.reads - before

    assert asyncio.run(crowd()) < 10


def test_streams_end_with_the_server_and_with_their_source(quick: None) -> None:
    async def closed() -> bool:
        viewers = stream.Viewers(Console(FakeLive()))
        viewer = viewers.stream("e.0")
        await events(viewer, until="pulse")
        viewers.close()
        return await events(viewer, until="never") == [] and viewers.is_full

    async def failing() -> None:
        live = FakeLive()
        viewer = stream.Viewers(Console(live)).stream("e.0")
        await events(viewer, until="pulse")
        live.error = RuntimeError("the log is closed")
        await events(viewer, until="never")

    assert asyncio.run(closed())
    with pytest.raises(RuntimeError, match="the log is closed"):
        asyncio.run(failing())


def test_no_more_viewers_than_can_be_served() -> None:
    """A clear 503 to the next one; and what was let in at once ends by itself."""
    answer = Client(create_api(dataclasses.replace(ports(Fake()), console=Console(FakeLive()), most_streams=0))).get(
        "/console/stream"
    )
    assert answer.status_code == 503
    assert "Close some" in answer.json()["detail"]
    assert answer.headers["Retry-After"]

    async def at_once() -> list[bytes]:
        full = stream.Viewers(Console(FakeLive()), 0)
        return [event async for event in full.stream("")]

    assert asyncio.run(at_once()) == []
