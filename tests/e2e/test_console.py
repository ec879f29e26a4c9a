"""The live page in a real browser, over a real app: what happens shows without a reload, and everything works by keyboard."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from connectors.api.console.ports import InvariantState
from schemas.frozen import replace
from tests.support.api_fakes import ORDER, Fake
from tests.support.app import ITEM, Server, count, master, reserve
from tests.support.browser import CONTRAST, NAMES, Viewer, launched
from tests.support.console import served
from tests.support.console_fakes import NUMBERS, FakeDemo, FakeLive


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """100 pieces of one item, an order that waits for more, and an exception."""
    server = Server(tmp_path_factory.mktemp("console") / "data")
    server.send("erp", master())
    server.send("wms", [count("100", 1)])
    server.wait_for_stock(100)
    place(server, "FIRST", "500")
    server.send("wms", [json.dumps(json.loads(count("50", 2)) | {"qty": -5}).encode()])
    yield server
    assert server.stop() == 0


def place(server: Server, ref: str, qty: str) -> None:
    body = {"channel": "web", "external_ref": ref, "customer": "C", "lines": [{"line": 1, "item": ITEM, "qty": qty}]}
    assert server.client.post("/v1/orders", json=body).status_code == 202


def execution(sequence: int, kind: str, ref: str, **more: Any) -> bytes:
    """The warehouse says something about an order's first line."""
    fact = {"event_id": f"W-{sequence}", "sequence": sequence, "type": kind, "site": "DC1", "order": f"web:{ref}"}
    return json.dumps(fact | {"occurred_at": "2026-01-02T10:00:00Z"} | more).encode()


def test_text_from_outside_cannot_hide_or_turn_around_what_is_beside_it(server: Server, browser: Browser) -> None:
    """Controls and bidirectional marks are written out, in text and in attributes; markup is text."""
    page = Viewer(browser, server.url, "desk").page
    shown = page.evaluate(
        """async () => {
            const { h, say } = await import("/console/static/dom.js");
            const made = h("p", { title: "a\\u202eb" }, "x\\u001b[2J\\u2066<b>", " plain");
            const said = document.createElement("p");
            say(said, "c\\u200fd");
            return [made.textContent, made.title, said.textContent, made.children.length];
        }"""
    )
    assert shown == ["x\\u001b[2J\\u2066<b> plain", "a\\u202eb", "c\\u200fd", 0]


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_the_page_shows_what_there_is_and_fits(server: Server, browser: Browser, size: str) -> None:
    viewer = Viewer(browser, server.url, size)
    page = viewer.page
    expect(page.locator("#stage-waiting .count")).to_have_text(re.compile("[1-9]"))
    expect(page.locator("#items tr")).to_have_count(1)
    expect(page.locator("#item h3")).to_have_text(ITEM)
    expect(page.locator("#exceptions")).to_contain_text("Dead letter")
    expect(page.locator("#feeds")).to_contain_text("wms")
    expect(page.locator("#invariants [data-state=ok]")).to_have_count(2)
    expect(page.locator("svg.chart path.line-atp")).to_have_attribute("d", re.compile("^M"))
    assert page.locator("#demo").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.fonts.check('16px Inter')")
    viewer.close()


def test_an_order_appears_moves_and_changes_the_promise_without_a_reload(server: Server, browser: Browser) -> None:
    viewer = Viewer(browser, server.url)
    page = viewer.page
    place(server, "MOVES", "4")
    server.send("wms", [count("700", 10, "2026-01-02T09:30:00Z")])
    card = page.locator("[data-key='web:MOVES']")
    expect(page.locator("#stage-allocated").locator(card)).to_contain_text("Allocated")
    promised = str(server.atp()["promise"])
    expect(page.locator(f"#items [data-key='{ITEM}'] [data-of=promise]")).to_have_text(promised)
    expect(page.locator("#item .numbers .big b")).to_have_text(promised)
    card.get_by_role("button").click()
    expect(page.locator("#panel .milestones [data-state=ok]")).not_to_have_count(0)
    server.send("wms", [execution(11, "pick.released", "MOVES", line=1, item=ITEM, qty="4", uom="EA")])
    expect(page.locator("#stage-warehouse").locator(card)).to_contain_text("Released")
    expect(page.locator("#panel .timeline")).to_contain_text("Pick released")
    server.send("wms", [execution(12, "pick.completed", "MOVES", line=1, item=ITEM, qty="4", uom="EA")])
    shipped = {"shipment": "S1", "lines": [{"line": 1, "item": ITEM, "qty": "4"}]}
    server.send("wms", [execution(13, "shipment.confirmed", "MOVES", **shipped)])
    expect(page.locator("#stage-shipped").locator(card)).to_contain_text("Shipped")
    expect(page.locator("#panel .facts")).to_contain_text("Shipped")
    page.keyboard.press("Escape")
    expect(card.get_by_role("button")).to_be_focused()
    assert reserve(server.client, "live", 7).status_code == 201
    expect(page.locator("#item .numbers .big b")).to_have_text(str(server.atp()["promise"]))
    viewer.close()


def test_why_a_number_is_what_it_is_opens_by_keyboard(server: Server, browser: Browser) -> None:
    viewer = Viewer(browser, server.url)
    page = viewer.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    expect(page.locator("#item h3")).to_have_text(ITEM)
    viewer.press_to("#item .main")
    assert viewer.focus_is_visible()
    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog", name=f"Why: {ITEM}")
    expect(panel).to_contain_text("Every number is the sum of its ledger rows.")
    expect(panel).to_contain_text(re.compile(r"\d+ EA can be promised"))
    expect(panel).to_contain_text("Stock counted")
    usable = panel.get_by_role("row").filter(has_text="On hand, usable")
    expect(usable.get_by_role("cell").nth(1)).to_have_text(re.compile(r"^\d+$"))
    assert page.evaluate("document.querySelector('#panel').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == "Why this number"
    viewer.close()


def test_the_chart_says_each_day_by_keyboard(server: Server, browser: Browser) -> None:
    viewer = Viewer(browser, server.url)
    page = viewer.page
    expect(page.locator("#item h3")).to_have_text(ITEM)
    viewer.press_to(".day-slider")
    first = page.locator(".readout").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".readout")).not_to_have_text(first)
    expect(page.locator(".day-slider")).to_have_attribute(
        "aria-valuetext", re.compile(r"ATP .*, projected .*, supply .*, demand ")
    )
    viewer.close()


def test_an_exception_is_taken_and_resolved_by_keyboard(server: Server, browser: Browser) -> None:
    viewer = Viewer(browser, server.url, "phone")
    page = viewer.page
    row = page.locator("#exceptions li").filter(has=page.locator(".code", has_text="Dead letter"))
    expect(row).to_have_count(1)
    row.get_by_role("button").focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog", name="Dead letter")
    expect(panel).to_contain_text("Correct the message or its source")
    viewer.press_to("#panel input[name=person]")
    page.keyboard.type("dana")
    viewer.press_to("#panel textarea")
    page.keyboard.type("counted again")
    viewer.press_to("#panel .actions .main")
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("Resolved by dana")
    expect(row).to_have_count(0)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    for opener in (page.locator("#item .main"), page.locator(".order-card button").first):
        opener.click()
        expect(page.locator("#panel .timeline li")).not_to_have_count(0)
        assert page.evaluate("(panel => panel.scrollWidth <= panel.clientWidth)(document.querySelector('#panel'))")
        page.keyboard.press("Escape")
    viewer.close()


def test_items_are_found_by_the_server_and_wrong_ones_said(server: Server, browser: Browser) -> None:
    viewer = Viewer(browser, server.url)
    page = viewer.page
    expect(page.locator("#items-where")).to_have_text(re.compile("of 1$"))
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.locator("#items-where")).to_have_text("No item found")
    page.get_by_role("searchbox").fill(ITEM[1:].lower())
    expect(page.locator("#items tr")).to_have_count(1)
    page.get_by_role("radio", name="All").check(force=True)
    expect(page.locator("#items tr")).to_have_count(1)
    viewer.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_names_roles_and_contrast(server: Server, browser: Browser, theme: Any) -> None:
    viewer = Viewer(browser, server.url, color_scheme=theme, reduced_motion="reduce")
    page = viewer.page
    expect(page.locator("#item h3")).to_have_text(ITEM)
    assert page.evaluate(NAMES) == []
    assert page.evaluate(CONTRAST) == []
    for opener in (
        page.locator(".order-card button").first,
        page.locator("#exceptions button").first,
        page.locator("#item .main"),
    ):
        opener.click()
        expect(page.locator("#panel-body > *")).not_to_have_count(1)
        assert page.evaluate(NAMES) == []
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Light or dark").click()
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("#theme-name")).to_have_text("Dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 17, 22)"
    page.reload()
    expect(page.locator("#theme-name")).to_have_text("Dark")
    viewer.close()


def test_a_server_that_comes_back_is_taken_up_again(browser: Browser, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = Server(tmp_path / "data", port)
    first.send("erp", master())
    first.send("wms", [count("100", 1)])
    first.wait_for_stock(100)
    viewer = Viewer(browser, first.url)
    page = viewer.page
    expect(page.locator("#item .numbers .big b")).to_have_text("100")
    first.kill()
    expect(page.locator("#link")).to_have_text(re.compile("^Away since .*, trying again$"))
    again = Server(first.directory, port)
    expect(page.locator("#link")).to_have_text("Live")
    place(again, "AFTER", "3")
    expect(page.locator("#stage-allocated").locator("[data-key='web:AFTER']")).to_be_visible()
    expect(page.locator("#item .numbers .big b")).to_have_text("97")
    assert again.stop() == 0, "an open page does not keep the server from ending"
    expect(page.locator("#link")).to_have_text(re.compile("^Away since .*, trying again$"))
    viewer.complaints = [said for said in viewer.complaints if "ERR_" not in said]  # what the browser says of lost connections
    viewer.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_wrong_is_said_in_words_and_the_buttons_that_cause_it_work_by_keyboard(browser: Browser, theme: Any) -> None:
    live, demo = FakeLive(), FakeDemo()
    live.now = dataclasses.replace(
        NUMBERS, invariants=[InvariantState("Never oversold", False, "promised beyond stock: X")], halted={"clock": "it broke"}
    )
    with served(live, demo, Fake()) as url:
        viewer = Viewer(browser, url, color_scheme=theme)
        page = viewer.page
        expect(page.locator("#invariants [data-state=bad]")).to_have_count(2)
        expect(page.locator("#invariants svg[aria-label='Violated:']")).to_have_count(2)
        expect(page.locator("#invariants")).to_contain_text("promised beyond stock: X")
        expect(page.locator("#endpoints tr svg[aria-label='Left alone:']")).to_have_count(1)
        assert page.evaluate(NAMES) == []
        assert page.evaluate(CONTRAST) == []
        viewer.press_to("#demo button")
        assert viewer.focus_is_visible()
        page.keyboard.press("Enter")
        expect(page.locator("#demo-said")).to_have_text("The WMS is away.")
        expect(page.get_by_role("button", name="WMS up", pressed=True)).to_be_focused()
        assert demo.is_down
        viewer.close()


def test_a_held_order_is_let_go_by_keyboard(browser: Browser) -> None:
    live, fake = FakeLive(), Fake()
    live.order = replace(ORDER, status="held", decision="held", holds=["credit_limit"])
    fake.order = live.order
    with served(live, FakeDemo(), fake) as url:
        viewer = Viewer(browser, url)
        page = viewer.page
        viewer.press_to("#stage-held .order-card button")
        page.keyboard.press("Enter")
        expect(page.locator("#panel")).to_contain_text("Credit limit")
        viewer.press_to("#panel .actions .main")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.name") == "person", "who lets it go has to be said"
        page.keyboard.type("dana")
        viewer.press_to("#panel .actions .main")
        page.keyboard.press("Enter")
        expect(page.locator("#panel .said")).to_contain_text("Released")
        assert fake.worked == [("web:W/1", "credit_limit", "dana", "")]
        viewer.close()
