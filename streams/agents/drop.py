"""The file agent: takes order files that are dropped into a folder, and reports on each of their rows.

    <folder>/orders.csv -> .claimed/orders.csv -> done/orders.csv and reports/orders.csv.report.csv (or refused/orders.csv)

A file is claimed by renaming it, and done with only after its orders are in the log. One that a crash left claimed is taken
again: its orders are the same orders.
"""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from connectors.channels.formats import CSV, headers_of
from connectors.files.orders_csv.translate import RowReport, report
from schemas.errors import BadMessage
from schemas.topics import raw_channel
from streams.engine.log import Outgoing

SETTLED_S = 1.0  # a file younger than that may still be being written
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Dropped:
    """A claimed file: the records to write, then `Folder.finish`."""

    name: str
    records: list[Outgoing]
    rows: list[RowReport]
    refused: str | None


class Folder:
    """A watched folder of one channel."""

    def __init__(self, path: Path, channel: str) -> None:
        self.path = path
        self._topic = raw_channel(channel).name
        self._claimed = path / ".claimed"

    def prepare(self) -> None:
        """Make the folder and those beside it. Raises `OSError`."""
        for place in (self._claimed, self.path / "done", self.path / "refused", self.path / "reports"):
            place.mkdir(parents=True, exist_ok=True)

    def claim(self) -> list[str]:
        """Claim what has come and is written to its end; returns the names of all claimed files, oldest name first."""
        waiting = sorted(p for p in self.path.iterdir() if p.suffix.lower() == ".csv" and p.is_file())
        for file in waiting[:AT_ONCE]:
            try:
                if time.time() - file.stat().st_mtime >= SETTLED_S:
                    file.rename(self._free(self._claimed / file.name))
            except FileNotFoundError:
                continue  # another watcher has it, or it was taken back
        return sorted(p.name for p in self._claimed.iterdir())[:AT_ONCE]

    def take(self, name: str, at_ms: int) -> Dropped | None:
        """Read a claimed file; none if it is gone."""
        try:
            data = (self._claimed / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            orders, rows = report(data, self._topic, at_ms)
        except BadMessage as error:
            return Dropped(name, [], [], f"{error.reason}; {error.hint}")
        marks = (*headers_of(CSV), ("crossdock.file", name.encode()))
        return Dropped(name, [Outgoing(self._topic, 0, None, order.text, marks) for order in orders], rows, None)

    def finish(self, dropped: Dropped) -> None:
        """Write the report and put the file away: its orders are in the log."""
        target = self._free(self.path / ("done" if dropped.refused is None else "refused") / dropped.name)
        part = self.path / "reports" / f".{target.name}.part"
        with part.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["row", "order", "line", "outcome", "reason"])
            writer.writerows([row.number, row.order, row.line, row.outcome, row.reason] for row in dropped.rows)
            if dropped.refused is not None:
                writer.writerow(["", "", "", "refused", dropped.refused])
        part.rename(self.path / "reports" / f"{target.name}.report.csv")
        (self._claimed / dropped.name).rename(target)

    @staticmethod
    def _free(path: Path) -> Path:
        """The path, or one beside it while that is taken: no file is ever written over."""
        found, n = path, 1
        while found.exists():
            n += 1
            found = path.with_stem(f"{path.stem}-{n}")
        return found


async def drop(turns: AsyncIterator[object], folder: Folder) -> AsyncIterator[Dropped]:
    """Each file that came, claimed and read, each time a turn comes. Write its records, then `folder.finish` it."""
    async for _ in turns:
        for name in await asyncio.to_thread(folder.claim):
            dropped = await asyncio.to_thread(folder.take, name, time.time_ns() // 1_000_000)
            if dropped is not None:
                yield dropped
