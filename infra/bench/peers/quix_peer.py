"""The Quix Streams peer, exactly once. Its one argument names a JSON file: the job, as `crossdock bench peers` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from promise_rules import translate, update
from quixstreams import Application, State
from quixstreams.dataframe import StreamingDataFrame


def add(event: dict[str, Any], state: State) -> dict[str, Any]:
    """Workload (a): a count and a sum by key."""
    count, total = state.get("count", 0) + 1, state.get("sum", 0) + event["qty"]
    state.set("count", count)
    state.set("sum", total)
    return {"key": event["key"], "count": count, "sum": total, "t": event["t"]}


def promise(fact: dict[str, Any], state: State) -> dict[str, Any]:
    """Workload (b): the item's position and what can be promised of it."""
    position = state.get("position", {})
    output: dict[str, Any] = update(fact, position, state)
    state.set("position", position)
    return output


def built(job: dict[str, Any], app: Application) -> StreamingDataFrame:
    """The stream of a job's workload."""
    frame = app.dataframe(app.topic(job["input"], key_deserializer="str", value_deserializer="json"))
    output = app.topic(job["output"], key_serializer="str", value_serializer="json")
    if job["workload"] == "a":
        return frame.apply(add, stateful=True).to_topic(output)
    facts = frame.apply(translate, expand=True)
    if not job["is_keyed"]:
        facts = facts.group_by("item", key_serializer="str", key_deserializer="str")
    return facts.apply(promise, stateful=True).to_topic(output)


def main() -> None:
    """Run until told to stop."""
    job = json.loads(Path(sys.argv[1]).read_text())
    app = Application(
        broker_address=job["brokers"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=job["directory"],
        loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": 10_000},
        **({} if job["commit_ms"] is None else {"commit_interval": job["commit_ms"] / 1000}),
    )
    built(job, app)
    app.run()


if __name__ == "__main__":
    main()
