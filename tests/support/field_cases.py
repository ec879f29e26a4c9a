"""Plays an input from the field against a running crossdock and looks at what it says, through its public interfaces only.

An input is a JSON file of `tests/data/field`: `settings` is the crossdock.toml; `steps` are played in order and counted from 1;
`right` is a list of outcomes, each a list of what has to hold `after` a step (0: after the last), by `any` of its looks. An
input is right if all of one outcome holds, looked at once nothing moves any more.
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from connectors.channels.webshop.signature import HEADER, sign
from tests.support.app import Server

DATA = Path(__file__).parents[1] / "data" / "field"
RECORDED_ON = date(2026, 11, 29)
EPOCH = date(1970, 1, 1)
NEAR_DAYS = (date(2000, 1, 1) - EPOCH).days, (date(2100, 1, 1) - EPOCH).days
_SECRET = re.compile(r'webhook_secret = "(.*)"')
_WAITING = re.compile(r"^crossdock_lag_records\{.*\} (\S+)$", re.MULTILINE)
_STEP_S = 20.0
_STANDSTILL_S = 3.0

Look = dict[str, Any]


class Field:
    """One input being played."""

    def __init__(self, name: str, directory: Path) -> None:
        self.case = json.loads((DATA / f"{name}.json").read_text())
        self.directory = directory
        (directory / "crossdock.toml").write_text(self.case["settings"])
        self.server = Server(directory / "data")
        self.client = self.server.client
        self.statuses: dict[int, int] = {}
        self._looks: dict[str, Callable[[Look], Any]] = {
            "atp": self._atp,
            "order": self._order,
            "exceptions": self._exceptions,
            "ready": self._ready,
            "table": self._table,
            "refused": lambda look: self.statuses[look["refused"]] >= 400 or f"step {look['refused']} was taken",
            "report": self._report,
        }

    def play(self) -> list[list[str]]:
        """All steps. Returns for each outcome what was wrong; the input is right if one of them is empty."""
        steps = self.case["steps"]
        wrong: list[list[str]] = [[] for _ in self.case["right"]]
        for n, step in enumerate(steps, 1):
            self.statuses[n] = self._do(step)
            self._settle()
            for found, outcome in zip(wrong, self.case["right"], strict=True):
                now = [line["any"] for line in outcome if (line["after"] or len(steps)) == n]
                found.extend(sentence for looks in now for sentence in self._look(n, looks))
        return wrong

    def _do(self, step: dict[str, Any]) -> int:
        if "ingest" in step:
            lines = b"\n".join(json.dumps(_as_of_today(m)).encode() for m in step["messages"])
            headers = {"Content-Type": "application/x-ndjson"}
            return self.client.post(f"/v1/ingest/{step['ingest']}", content=lines, headers=headers).status_code
        if "drop" in step:
            return self._drop(step["drop"], step["file"])
        ((call, document),) = step.items()
        path = call.removeprefix("POST ")
        body = json.dumps(document).encode()
        secret = _SECRET.search(self.case["settings"])
        signature = sign(secret[1].encode(), body) if secret and "/webhooks/" in path else ""
        headers = {"Content-Type": "application/json", HEADER: signature}
        return self.client.post(path, content=body, headers=headers).status_code

    def _drop(self, folder: str, file: str) -> int:
        """Leave a file, and wait for the report on it."""
        part = self.directory / f".{file}"
        part.write_bytes((DATA / file).read_bytes())
        part.rename(self.directory / folder / file)
        until = time.monotonic() + _STEP_S
        while not list((self.directory / folder / "reports").glob("*.csv")):
            assert time.monotonic() < until, f"no report on {file} in {_STEP_S:g} s"
            time.sleep(0.1)
        return 202

    def _settle(self) -> None:
        """Until nothing waits to be read, or nothing moves although something waits."""
        until = time.monotonic() + _STEP_S
        before, since, quiet = -1.0, time.monotonic(), 0
        while time.monotonic() < until and quiet < 3:
            waiting = sum(map(float, _WAITING.findall(self.client.get("/metrics").text)))
            quiet = quiet + 1 if waiting == 0 else 0
            if waiting != before:
                before, since = waiting, time.monotonic()
            if time.monotonic() - since > _STANDSTILL_S:
                return
            time.sleep(0.1)

    def _look(self, n: int, looks: list[Look]) -> list[str]:
        wrong = []
        for look in looks:
            kind = next(iter(look))
            found = self._looks[kind](look)
            if found is True:
                return []
            wrong.append(f"after step {n}: {look}: {found}")
        return [" / ".join(wrong)]

    def _atp(self, look: Look) -> Any:
        query = {"site": look["site"]} if "site" in look else {}
        response = self.client.get(f"/v1/atp/{quote(look['atp'], safe='')}", params=query)
        assert response.status_code in (200, 404), response.text
        row = json.loads(response.text, parse_float=Decimal) if response.status_code == 200 else {}
        sites = [site for site in row.get("sites", []) if look.get("site") in (None, site["site"])]
        seen = {
            "promise": row.get("promise", 0),
            "promise_most": row.get("promise", 0),
            "atp_is": row.get("atp", 0),
            "demand": row.get("demand", 0),
            "suspect": row.get("is_suspect", False),
            "usable": sum(site["on_hand"].get("usable", 0) for site in sites),
            "days_max": max((day["atp"] for day in row.get("days", [])), default=0),
        }
        wrong = {
            name: seen[name]
            for name, right in look.items()
            if name in seen and not (seen[name] <= right if name == "promise_most" else _same(seen[name], right))
        }
        return wrong or True

    def _order(self, look: Look) -> Any:
        response = self.client.get(f"/v1/orders/{look['order']}")
        order = response.json() if response.status_code == 200 else {"lines": []}
        if "status" in look:
            return order.get("status") == look["status"] or order.get("status")
        line: Look = next((line for line in order["lines"] if line["line"] == look["line"]), {})
        wrong = {name: line.get(name, 0) for name in look if name not in ("order", "line") and line.get(name, 0) != look[name]}
        return wrong or True

    def _exceptions(self, look: Look) -> Any:
        """Open ones; those about lateness alone do not count."""
        page = self.client.get("/v1/exceptions", params={"limit": 500}).json()["exceptions"]
        rows = [row for row in page if row["state"] in ("open", "assigned") and not row["code"].startswith("late_")]
        if "code" in look:
            rows = [row for row in rows if row["code"] == look["code"]]
        if "code_not" in look:
            rows = [row for row in rows if row["code"] != look["code_not"]]
        if "naming" in look:
            rows = [row for row in rows if re.search(look["naming"], json.dumps(row), re.IGNORECASE)]
        if "action" in look:
            rows = [row for row in rows if re.search(look["action"], row["action"], re.IGNORECASE)]
        return look.get("least", 0) <= len(rows) <= look.get("most", 500) or [row["sentence"] for row in rows]

    def _ready(self, look: Look) -> Any:
        found = [self.client.get(path) for path in ("/readyz", "/healthz")]
        return all(response.status_code == 200 for response in found) or found[0].text

    def _table(self, look: Look) -> Any:
        response = self.client.get(f"/v1/tables/{look['table']}")
        return (response.status_code == 200 and look["text"] in response.text) or response.text[:500]

    def _report(self, look: Look) -> Any:
        reports = self.directory.glob("*/reports/*.csv")
        rows = [row for report in reports for row in csv.DictReader(report.read_text("utf-8").splitlines())]
        mine = [row for row in rows if row["order"] in (look["report"], "")]
        return any(row["outcome"] == "refused" for row in mine) or rows


def _same(seen: Any, right: Any) -> bool:
    """2.5 is 2.5, whether read exactly or not."""
    return bool(seen == right or str(seen) == str(right))


def _as_of_today(value: Any) -> Any:
    """A message with its expected days as far ahead as they were when it was recorded; placeholders stay."""
    if isinstance(value, list):
        return [_as_of_today(part) for part in value]
    if not isinstance(value, dict):
        return value
    moved = {name: _as_of_today(part) for name, part in value.items()}
    day = moved.get("expected_date")
    if isinstance(day, int) and NEAR_DAYS[0] < day < NEAR_DAYS[1]:
        moved["expected_date"] = day + (date.today() - RECORDED_ON).days  # noqa: DTZ011 - about today, to the day
    return moved
