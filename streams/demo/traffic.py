"""The day's messages as they are delivered: numbered, repeated, out of order within bounds, mixed with garbage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from streams.demo import channels, garbage
from streams.demo.execution import Floor
from streams.demo.stock import Morning
from streams.demo.world import Counts, Fact, Message, OpenLine, Plan, Traffic, dice, iso


def orders(plan: Plan, first_sequence: int = 1) -> Traffic:
    """The morning: the warehouse's stock, the channels' orders and changes, and the plan's garbage."""
    facts = [*Morning(plan).facts(), *channels.facts(plan)]
    return _deliver(plan, "orders", facts, garbage.some(plan), first_sequence)


def warehouse(plan: Plan, open_lines: Sequence[OpenLine], first_sequence: int) -> Traffic:
    """The afternoon: the execution of lines allocated so far. `first_sequence`: the morning's `next_sequence`."""
    return _deliver(plan, "warehouse", list(Floor(plan).facts(open_lines)), [], first_sequence)


def _deliver(
    plan: Plan, phase: str, facts: list[Fact], rubbish: Sequence[tuple[str, str, bytes]], first_sequence: int
) -> Traffic:
    """Facts in the order they happened get the WMS's numbers, then places in the order of delivery."""
    rng = dice(plan, f"{phase} delivery")
    manifest: dict[str, Counts] = {}
    placed: list[tuple[float, Message]] = []
    last_in: dict[str, float] = {}
    sequence = first_sequence
    for place, fact in enumerate(sorted(facts, key=lambda fact: fact.at_ms)):
        body = fact.body
        if fact.source == "wms":
            body = {"event_id": f"W-{sequence}", "sequence": sequence, **body, "occurred_at": iso(fact.at_ms)}
            sequence += 1
        message = Message(fact.source, json.dumps(body, separators=(",", ":")).encode())
        at = place + rng.random() * plan.displacement
        if fact.thread is not None:
            at = last_in[fact.thread] = max(last_in.get(fact.thread, 0.0), at)
        placed.append((at, message))
        counts = manifest.setdefault(fact.source, Counts())
        counts.unique += 1
        counts.types[fact.kind] = counts.types.get(fact.kind, 0) + 1
        if rng.random() < plan.duplicate_rate:
            placed.append((at + rng.random() * 3 * plan.displacement, message))
            counts.duplicates += 1
    for source, kind, raw in rubbish:
        placed.append((rng.random() * len(facts), Message(source, raw)))
        found = manifest.setdefault(source, Counts()).garbage
        found[kind] = found.get(kind, 0) + 1
    return Traffic(_in_order(placed), manifest, sequence)


def _in_order(placed: Iterable[tuple[float, Message]]) -> tuple[Message, ...]:
    return tuple(message for _, message in sorted(placed, key=lambda one: one[0]))
