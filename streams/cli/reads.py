"""Commands that look: atp, order, explain, table, exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from streams.cli.options import AsJson, Data, settings_for
from streams.cli.output import CommandFailed, as_it_is, as_json, number, out, progress, table
from streams.cli.session import Session, ask, read, session

_DOUBTS = {
    "": "messages about it are in quarantine:",
    "waiting": "events of it wait for",
    "negative": "its balance is below zero at",
    "unpublished": "its newest numbers cannot be worked out:",
    "erp-history": "the ERP's new snapshot has not read all its rows:",
}
"""What raises doubt about an item, by the start of its name; dead letters are named by their records."""


def atp(
    item: Annotated[str, typer.Argument(help="Item number, as the ERP has it.")],
    site: Annotated[str | None, typer.Option(help="One site only.")] = None,
    channel: Annotated[str | None, typer.Option(help="As this channel may take it.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="lookahead, projected, backward, backward_accumulate, discrete, cumulative.")
    ] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day shown.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=180, help="How many days.")] = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """What can be promised of an item: the number, its days, and what it is made of.

    crossdock atp 00010021
    crossdock atp 00010021 --channel web --days 14
    crossdock atp 00010021 --site DC1 --policy projected --json
    """
    wanted = {
        "site": site,
        "channel": channel,
        "policy": policy,
        "days": days,
        "from": start.date().isoformat() if start else None,
    }
    with session(settings_for(data)) as source:
        response = ask(source, "GET", f"/v1/atp/{_path(item)}", params={k: v for k, v in wanted.items() if v is not None})
    if is_json:
        as_it_is(response.text)
        return
    _show_atp(read(response))


def _show_atp(shown: dict[str, Any]) -> None:
    console = out()
    whose = f" for channel {shown['channel']}" if shown["channel"] else ""
    kept = " a site" if shown["safety_policy"] == "site" else ""
    console.print(
        f"[bold]{shown['item']}[/]: [bold green]{number(shown['promise'])} {shown['uom']}[/] can be promised today{whose} "
        f"(policy {shown['policy']}, ATP {number(shown['atp'])}, safety stock {number(shown['safety_stock'])}{kept})"
    )
    if shown["is_suspect"]:
        console.print(f"[yellow]May be wrong: {_doubts(shown['suspects'])}[/]")
    columns = ("site", "promise", "ATP", "usable", "held", "quality", "damaged", "staged", "demand", "reserved", "backordered")
    rows = [
        (s["site"], s["promise"], s["atp"], *s["on_hand"].values(), s["demand"], s["reserved"], s["backordered"])
        for s in shown["sites"]
    ]
    console.print(table("Sites", columns, rows, right=columns[1:]))
    series = ("day", "supply", "demand", "projected", "ATP", "promise")
    days = [(d["day"], d["supply"], d["demand"], d["projected"], d["atp"], d["promise"]) for d in _changing(shown["days"])]
    console.print(table("Days on which something changes", series, days, right=series[1:]))
    console.print(f"version {shown['version']}, as of {shown['as_of']}; {_waiting(shown)}")


def _doubts(suspects: list[str]) -> str:
    """What raises doubt, in a sentence."""
    kinds: dict[str, list[str]] = {}
    for name in suspects:
        kind, _, what = name.partition(":")
        if kind == "waiting":  # where it waits is of no interest here
            what = what.partition(":")[2].replace(":", " ", 1)
        is_kind = kind in _DOUBTS and bool(what)
        kinds.setdefault(kind if is_kind else "", []).append(what if is_kind else name)
    return "; ".join(f"{_DOUBTS[kind]} {', '.join(dict.fromkeys(found))}" for kind, found in kinds.items())


def _changing(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for day in days:
        if not found or any(day[k] != found[-1][k] for k in ("projected", "atp", "promise")) or day["supply"] or day["demand"]:
            found.append(day)
    return found


def _waiting(shown: dict[str, Any]) -> str:
    waiting = sum(source["waiting_records"] for source in shown["freshness"]["sources"])
    return f"{waiting:,} messages wait to be read" if waiting else "every message has been read"


def order(
    order_id: Annotated[str, typer.Argument(help="<channel>:<external reference>, or erp:<order number>.")],
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """The state of an order, line by line, with its milestones.

    crossdock order web:W1001
    crossdock order erp:0000012345 --json
    """
    with session(settings_for(data)) as source:
        response = ask(source, "GET", f"/v1/orders/{_path(order_id)}")
        trace = read(ask(source, "GET", f"/v1/orders/{_path(order_id)}/trace"))
    shown = read(response)
    if is_json:
        as_it_is(response.text)
        return
    console = out()
    numbers = f" (ERP {', '.join(shown['erp_order_nos'])})" if shown["erp_order_nos"] else ""
    console.print(f"[bold]{shown['order_id']}[/]{numbers}: [bold]{shown['status']}[/]")
    console.print(f"customer {shown['customer']}, placed {shown['placed_at']}, requested for {shown['requested_on'] or 'now'}")
    if shown["decision"]:
        why = f" for {', '.join(shown['holds'])}" if shown["holds"] else ""
        console.print(f"decision: [bold]{shown['decision']}[/]{why}")
    counts = (
        "ordered",
        "allocated",
        "backordered",
        "picked",
        "shipped",
        "short",
        "substituted",
        "cancelled",
        "returned",
        "invoiced",
    )
    rows = [
        (line["line"], line["item"], line["state"], *(line[c] for c in counts), line["promised_on"], line["reason"])
        for line in shown["lines"]
    ]
    console.print(table("Lines", ("line", "item", "state", *counts, "promised on", "reason"), rows, right=("line", *counts)))
    rows = [(m["milestone"], m["at"], m["since_previous_ms"], "late" if m["is_late"] else "") for m in trace["milestones"]]
    console.print(
        table("Milestones", ("milestone", "at", "ms since the one before", ""), rows, right=("ms since the one before",))
    )


def explain(item: Annotated[str, typer.Argument(help="Item number.")], is_json: AsJson = False, data: Data = None) -> None:
    """Why the number is what it is: every ledger row, by measure, added up to the present number.

    crossdock explain 00010021
    """
    with session(settings_for(data)) as source:
        shown = _whole_ledger(source, item)
    if is_json:
        as_json(shown)
    else:
        _show_ledger(shown)
    if shown["adds_up"] is False:
        raise CommandFailed(f"The ledger of {item} does not add up to its numbers: run crossdock verify.")
    if shown["adds_up"] is None:
        raise CommandFailed(
            f"The ledger of {item} is too long to be added up here: crossdock verify compares its numbers with the log."
        )


def audit(
    item: Annotated[str, typer.Argument(help="Item number.")],
    site: Annotated[str | None, typer.Option(help="This site only.")] = None,
    at: Annotated[
        str | None, typer.Option(help="As of 2026-11-02 (the end of that day, UTC), 2026-11-02T09:00:00Z, or ms since 1970.")
    ] = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """The first event after which more was promised than there was, and its cause; or the proof that there is none.

    crossdock audit 00010021
    crossdock audit 00010021 --site DC1 --at 2026-11-02T09:00:00Z
    """
    params = {name: value for name, value in (("site", site), ("at", at)) if value is not None}
    with session(settings_for(data)) as source:
        shown = _whole_audit(source, item, params)
    if is_json:
        as_json(shown)
    else:
        _show_audit(shown)
    if not shown["is_proved"]:
        raise CommandFailed(f"Rows of the ledger of {item} are missing before {shown['missing_before']}: run crossdock verify.")


def _whole_audit(source: Session, item: str, params: dict[str, str]) -> dict[str, Any]:
    """All parts as one document."""
    found: list[Any] = []
    after: str | None = None
    bar, task = progress(f"ledger of {item}", None)
    with bar:
        while True:
            more = {} if after is None else {"after": after}
            shown: dict[str, Any] = read(ask(source, "GET", f"/v1/items/{_path(item)}/audit", params=params | more))
            found += shown["oversales"]
            bar.update(task, completed=shown["events"])
            after = shown["next"]
            if after is None:
                return shown | {"oversales": sorted(found, key=lambda row: (row["recorded_at"], row["site"]))}


def _show_audit(shown: dict[str, Any]) -> None:
    console = out()
    if shown["is_proved"] and not shown["oversales"]:
        console.print(f"{shown['item']}: never more promised than there was, in {shown['events']:,} events of its ledger.")
    for n, found in enumerate(shown["oversales"]):
        ended = "and it still is" if found["ended_at"] is None else f"until {found['ended_at']}"
        console.print(
            f"{'First' if n == 0 else 'Then'}: {found['recorded_at']}, {shown['item']} at {found['site']}: "
            f"[bold]{found['kind']}[/] by {found['cause_type']} {found['cause']} ({found['note']}): {found['why']}. "
            f"{number(found['promised'])} promised, {number(found['available'])} available, {ended}."
        )
    console.print(f"Proved: {shown['proved']}. Not proved: {shown['not_proved']}.")


def _whole_ledger(source: Session, item: str) -> dict[str, Any]:
    """All pages as one document."""
    pages: list[list[Any]] = []
    before: int | None = None
    shown: dict[str, Any] = {}
    while not pages or before is not None:
        params = {"limit": 1000} | ({} if before is None else {"before": before})
        page = read(ask(source, "GET", f"/v1/items/{_path(item)}/explain", params=params))
        shown = shown or page
        pages.append(page["rows"])
        before = page["next"]
    return shown | {"rows": [row for rows in reversed(pages) for row in rows], "next": None}


def _show_ledger(shown: dict[str, Any]) -> None:
    console = out()
    by_measure: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in shown["rows"]:
        for change in row["changes"]:
            entry = (
                row["occurred_at"],
                row["cause_type"],
                row["cause"],
                change["lot"],
                change["before"],
                change["after"],
                change["after"] - change["before"],
                row["note"],
            )
            by_measure.setdefault((change["site"], change["measure"]), []).append(entry)
    numeric = ("before", "after", "change")
    for (site, measure), entries in sorted(by_measure.items()):
        made = table(f"{site} {measure}", ("at", "event", "id", "lot", *numeric, "note"), entries, right=numeric)
        made.add_section()
        made.add_row("", "", "", "", "", "[bold]sum[/]", f"[bold]{number(sum(e[6] for e in entries))}[/]", "")
        console.print(made)
    rows = [(t["site"], t["measure"], t["ledger"], t["present"], "yes" if t["agrees"] else "NO") for t in shown["totals"]]
    console.print(
        table(
            f"{shown['item']} in {shown['uom']}",
            ("site", "measure", "ledger", "present", "agrees"),
            rows,
            right=("ledger", "present"),
        )
    )
    verdict = {True: "[green]The ledger adds up to the numbers.[/]", False: "[bold red]The ledger does not add up.[/]"}
    console.print(verdict.get(shown["adds_up"], "The ledger is too long to be added up here."))


def show_table(
    name: Annotated[str, typer.Argument(help="<flow>.<table>, or the table's name alone. Without a known one, they are listed.")],
    key: Annotated[str | None, typer.Argument(help="A key or the beginning of one, its parts separated by |.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many rows.")] = 100,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """Rows of any flow's table, as they are committed.

    crossdock table items
    crossdock table promise.balances '00010021|DC1'
    """
    with session(settings_for(data)) as source:
        rows = list(_rows(source, name, key, limit))
    if is_json:
        as_json({"table": name, "rows": rows})
        return
    if len(rows) == 1:
        fields = [(field, _cell(value)) for field, value in rows[0]["row"].items()]
        out().print(table(f"{name}: {rows[0]['key']}", ("field", "value"), fields))
        return
    columns = [c for c in (rows[0]["row"] if rows else ()) if any(row["row"][c] not in _BLANK for row in rows)]
    cells = ([row["key"], *(_cell(row["row"][c]) for c in columns)] for row in rows)
    out().print(table(f"{name}: {len(rows)} rows (columns blank in all of them are left out)", ("key", *columns), cells))


def _rows(source: Session, name: str, key: str | None, limit: int) -> Iterator[Any]:
    path = f"/v1/tables/{_path(name)}" + (f"/{_path(key)}" if key is not None else "")
    after: str | None = None
    while limit > 0:
        params: dict[str, Any] = {"limit": min(limit, 1000)} | ({} if after is None else {"after": after})
        page = read(ask(source, "GET", path, params=params))
        yield from page["rows"]
        limit -= len(page["rows"])
        after = page["next"]
        if after is None:
            return


_BLANK: tuple[Any, ...] = (None, "", [], {}, False)


def _cell(value: Any) -> Any:
    """A value as a person reads it: lists and nested rows in words."""
    if isinstance(value, list):
        return ", ".join(str(_cell(part)) for part in value)
    if isinstance(value, dict):
        return " ".join(f"{name}={_cell(part)}" for name, part in value.items())
    return value


def exceptions(
    state: Annotated[
        str | None, typer.Option(help="open, assigned, resolved, cleared, all (default: open and assigned).")
    ] = None,
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """What a person should look at.

    crossdock exceptions
    crossdock exceptions --state all --json
    """
    found: list[Any] = []
    after: str | None = None
    with session(settings_for(data)) as source:
        while not found or after is not None:
            wanted = {"state": state, "after": after, "limit": 500}
            page = read(ask(source, "GET", "/v1/exceptions", params={k: v for k, v in wanted.items() if v is not None}))
            found += page["exceptions"]
            after = page["next"]
            if after is None:
                break
    if is_json:
        as_json({"exceptions": found})
        return
    rows = [(e["code"], e["severity"], e["state"], e["count"], e["sentence"], e["action"], e["fingerprint"]) for e in found]
    columns = ("code", "severity", "state", "count", "what", "to do", "fingerprint")
    out().print(table(f"{len(rows)} exceptions", columns, rows, right=("count",)))


def _path(text: str) -> str:
    return quote(text, safe="")
