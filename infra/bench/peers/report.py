"""The report of a benchmark: tables in Markdown with ratios, and a chart. A run with wrong results does not count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

Result = dict[str, Any]
OURS = "crossdock"
TITLES = {
    "a": "(a) A count and a sum by key, one output an event",
    "b": "(b) Warehouse message to promise, from feeds that are not keyed by item",
    "b-keyed": "(b) Warehouse message to promise, input keyed by item already",
}
NOTES = """\
All on one machine, the broker on the same processors; runs alternate. Throughput: a backlog that becomes visible at once to
an engine that has been warmed up, from that moment until its offsets are committed. Slow engines get fewer events: the rate
counts. Each run's outputs are read back and compared with what every key must come to. CPU: microseconds of processor time
an event, so what an engine costs shows also where it waits. Bytes: what broker logs grew by, input aside (outputs,
changelogs, repartition topics, offsets, marks), as each engine compresses by default (crossdock and the ceiling: lz4; the
others: not).

Every engine reads the same JSON from the same kind of topic (4 partitions). Workload (b): receipts, corrections, order and
purchase lines, picks and shipments; the required output is the item's units, what can be promised over the next 30 days, and
its supply and demand by day. The peers keep a position and the open lines of an item. crossdock runs the real translator and
the real promise fold: beside that it keeps the feed's ledger (repetitions, gaps), each movement (so that counts and replays
are exact), an inventory ledger record and an answer to each order line, and the order events; a bad message is undone and
quarantined alone. It publishes an item's promise once a commit, the peers once an event: see outputs an event. The item
master is loaded into crossdock before.

Settings: Kafka Streams exactly_once_v2, its stores cached, commit interval its own 100 ms (`-10ms`: 10 ms); Quix exactly
once, commit interval 1 s for throughput and 100 ms for latency; Faust at least once with RocksDB tables (its outputs can be
counted twice after a failure); `-2`: two threads of Kafka Streams, two worker processes of crossdock. The ceiling copies
records in transactions, without logic or state.
"""


def markdown(results: Sequence[Result], failed: Sequence[str]) -> str:
    """The whole report."""
    parts = ["## `crossdock bench peers`", NOTES, _rules(results)]
    good = [result for result in results if not result.get("wrong")]
    for workload, title in TITLES.items():
        for keys in sorted({r["keys"] for r in _of(good, "throughput", workload=workload)}):
            parts += [f"### {title}; {keys:,} keys", _throughput(_of(good, "throughput", workload=workload, keys=keys))]
    if found := _of(good, "latency"):
        parts += ["### Latency, from sent to committed output", _latency(found)]
    if found := _of(good, "restore"):
        parts += ["### Rows back from the changelog, local files gone", _restore(found)]
    if failed:
        parts += ["### Runs that do not count", "\n".join(f"- {sentence}" for sentence in failed)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rules(results: Sequence[Result]) -> str:
    ran = {True: "compiled (`infra/compile.sh`)", False: "as plain Python"}
    ways = sorted({r.get("is_compiled", False) for r in results}, reverse=True)
    return f"crossdock's rules ran {' and '.join(ran[way] for way in ways)}."


def _of(results: Sequence[Result], measure: str, **wanted: Any) -> list[Result]:
    return [r for r in results if r["measure"] == measure and all(r[name] == value for name, value in wanted.items())]


def _by_engine(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result["engine"], []).append(result)
    return found


def _rate(results: Sequence[Result]) -> float:
    return float(median(r["events_per_s"] for r in results))


def _throughput(results: Sequence[Result]) -> str:
    engines = _by_engine(results)
    ours = _rate(engines[OURS]) if OURS in engines else None
    rows = []
    for name, runs in sorted(engines.items(), key=lambda entry: -_rate(entry[1])):
        rates = sorted(r["events_per_s"] for r in runs)
        rows.append(
            (
                name,
                f"{_rate(runs):,.0f}",
                f"{rates[0]:,.0f} to {rates[-1]:,.0f}",
                f"{ours / _rate(runs):.2f}" if ours else "",
                *(f"{median(r[what] for r in runs):.1f}" for what in ("engine_cpu_us_per_event", "broker_cpu_us_per_event")),
                f"{median(r['bytes_per_event'] for r in runs):,.0f}",
                f"{median(r['outputs_per_event'] for r in runs):.2f}",
                f"{runs[0]['events']:,}",
                str(len(runs)),
            )
        )
    heads = ("engine", "events/s", "from to", "crossdock is x", "CPU us", "broker us", "bytes", "outputs", "events", "runs")
    return _table(heads, rows) + _growth(engines)


def _growth(engines: dict[str, list[Result]]) -> str:
    said = [
        f"{name}: x {_rate(engines[f'{name}-2']) / _rate(runs):.2f}" for name, runs in engines.items() if f"{name}-2" in engines
    ]
    return f"\n\nGrowth from one to two workers (threads): {', '.join(said)}." if said else ""


def _latency(results: Sequence[Result]) -> str:
    rows = [
        (
            r["workload"],
            r["engine"],
            f"{r['rate']:,}",
            *(f"{r[what]:,.1f}" for what in ("p50_ms", "p99_ms", "max_ms")),
            f"{r['unanswered']:,}",
            *(f"{r[what]:.1f}" for what in ("engine_cpu_us_per_event", "broker_cpu_us_per_event")),
        )
        for r in sorted(results, key=lambda r: (r["workload"], r["engine"], r["rate"]))
    ]
    heads = ("workload", "engine", "events/s", "p50 ms", "p99 ms", "max ms", "unanswered", "CPU us", "broker us")
    return _table(heads, rows)


def _restore(results: Sequence[Result]) -> str:
    rows = [
        (
            r["engine"],
            f"{r['events']:,}",
            f"{r['rows_per_s']:,.0f}" if r["rows_per_s"] else "too few rows to tell",
            f"{r['warm_s']:.1f}",
            f"{r['cold_s']:.1f}",
            "its own word" if r["is_as_told_by_engine"] else "the difference",
        )
        for r in sorted(results, key=lambda r: -(r["rows_per_s"] or 0))
    ]
    return _table(("engine", "rows", "rows/s", "start with rows, s", "without, s", "by"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


# --- the chart ------------------------------------------------------------------------------------------------------------

_BAR, _GAP, _LEFT, _WIDE = 22, 6, 170, 560
_OURS_COLOUR, _COLOUR = "#1f6feb", "#9aa4b2"


def chart(results: Sequence[Result]) -> str:
    """Bars of the median throughput, an SVG document."""
    good = [r for r in _of(results, "throughput") if not r.get("wrong")]
    parts: list[str] = []
    top = 10
    for workload, title in TITLES.items():
        for keys in sorted({r["keys"] for r in _of(good, "throughput", workload=workload)}):
            engines = _by_engine(_of(good, "throughput", workload=workload, keys=keys))
            rates = sorted(((name, _rate(runs)) for name, runs in engines.items()), key=lambda entry: -entry[1])
            parts.append(_text(10, top + 16, f"{title}; {keys:,} keys", "font-weight='bold'"))
            top += 28
            for name, rate in rates:
                length = max(1.0, rate / rates[0][1] * _WIDE)
                colour = _OURS_COLOUR if name.startswith(OURS) else _COLOUR
                parts.append(_text(_LEFT - 8, top + 16, name, "text-anchor='end'"))
                parts.append(f"<rect x='{_LEFT}' y='{top}' width='{length:.1f}' height='{_BAR}' fill='{colour}'/>")
                parts.append(_text(int(_LEFT + length + 6), top + 16, f"{rate:,.0f}/s"))
                top += _BAR + _GAP
            top += 14
    size = f"width='{_LEFT + _WIDE + 110}' height='{top}'"
    style = "font-family='sans-serif' font-size='13' fill='#24292f'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {style}><rect {size} fill='white'/>{''.join(parts)}</svg>\n"


def _text(x: int, y: int, text: str, more: str = "") -> str:
    return f"<text x='{x}' y='{y}' {more}>{escape(text)}</text>"


def write(directory: Path, results: Sequence[Result], failed: Sequence[str]) -> tuple[Path, Path]:
    """Write report and chart into a directory, and say where."""
    report, picture = directory / "report.md", directory / "throughput.svg"
    report.write_text(markdown(results, failed) + "\n![events a second](throughput.svg)\n")
    picture.write_text(chart(results))
    return report, picture
