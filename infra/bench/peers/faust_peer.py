"""The Faust peer: RocksDB tables. Its one argument names a JSON file: the job, as `crossdock bench peers` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import faust
from faust.cli.faust import cli
from promise_rules import translate, update

JOB = json.loads(Path(sys.argv.pop(1)).read_text())

app = faust.App(
    JOB["group"],
    broker=f"aiokafka://{JOB['brokers']}",
    store="rocksdb://",
    datadir=JOB["directory"],
    topic_partitions=JOB["partitions"],
    topic_replication_factor=1,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=10.0,
    broker_heartbeat_interval=1.0,
    web_enabled=False,
    value_serializer="json",
    key_serializer="raw",
    **({} if JOB["commit_ms"] is None else {"broker_commit_interval": JOB["commit_ms"] / 1000}),
)
options = {"driver": "rocksdict"}
source = app.topic(JOB["input"], key_type=str, key_serializer="raw", value_serializer="json")
output = app.topic(JOB["output"], key_type=str, key_serializer="raw", value_serializer="json")


class ItemLines:
    """Open lines of one item, in a table of all lines."""

    def __init__(self, table: Any, item: str) -> None:
        self._table = table
        self._item = item

    def get(self, key: str) -> Any:
        """The line, or none."""
        return self._table.get(f"{self._item}|{key}")

    def set(self, key: str, value: Any) -> None:
        """Keep the line."""
        self._table[f"{self._item}|{key}"] = value

    def delete(self, key: str) -> None:
        """The line is done."""
        del self._table[f"{self._item}|{key}"]


def sums() -> None:
    """Workload (a): a count and a sum by key."""
    table = app.Table("sums", default=dict, partitions=JOB["partitions"], options=options)

    @app.agent(source, name="add")
    async def add(stream: Any) -> None:
        async for event in stream:
            held = table.get(event["key"]) or {"count": 0, "sum": 0}
            row = {"count": held["count"] + 1, "sum": held["sum"] + event["qty"]}
            table[event["key"]] = row
            await output.send(key=event["key"], value={"key": event["key"], **row, "t": event["t"]})


def promises() -> None:
    """Workload (b): an item's position and what can be promised of it."""
    positions = app.Table("positions", default=dict, partitions=JOB["partitions"], options=options)
    lines = app.Table("lines", default=dict, partitions=JOB["partitions"], options=options)
    name = f"{JOB['group']}-items"
    items = app.topic(name, key_type=str, key_serializer="raw", partitions=JOB["partitions"], internal=True)

    async def apply(fact: dict[str, Any]) -> None:
        position = positions.get(fact["item"]) or {}
        answer = update(fact, position, ItemLines(lines, fact["item"]))
        positions[fact["item"]] = position
        await output.send(key=fact["item"], value=answer)

    @app.agent(source, name="translate")
    async def translated(stream: Any) -> None:
        async for message in stream:
            for fact in translate(message):
                if JOB["is_keyed"]:
                    await apply(fact)
                else:
                    await items.send(key=fact["item"], value=fact)

    if not JOB["is_keyed"]:

        @app.agent(items, name="promise")
        async def promised(stream: Any) -> None:
            async for fact in stream:
                await apply(fact)


if JOB["workload"] == "a":
    sums()
else:
    promises()

if __name__ == "__main__":
    sys.argv[1:] = ["-A", "__main__:app", "-l", "warn", "worker"]
    cli()
