"""The file agent: takes order files that are dropped into a folder, and reports on each of their rows.

    <folder>/orders.csv -> .claimed/orders.csv -> done/orders.csv and reports/orders.csv.report.csv (or rejected/orders.csv)

A file is claimed by renaming it, and done with only after its orders are in the log and what became of them is known, or has not
been for a while. One that a crash left claimed is taken again: its orders are the same orders.
"""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from connectors.channels.formats import CSV, headers_of
from connectors.files.layout import HEADER as LAYOUT
from connectors.files.orders_csv.translate import RowReport, report
from schemas.errors import BadMessage
from schemas.topics import raw_channel
from streams.agents.drop_folder import (
    AT_ONCE,
    DropFolderFormat,
    Entries,
    Unreadable,
    ahead,
    clean_name,
    free,
    read_bounded,
    write_report,
)
from streams.engine.log import Outgoing

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A claimed file: the records to write, then `Folder.finish`. `orders`: the order of each record as its rows name it.

    `ids`: the ids of the orders that can be taken, by that name. `notes`: what else is to be said of the file. `is_away`: it is
    put away already.
    """

    name: str
    records: list[Outgoing]
    rows: list[RowReport]
    refused: str | None
    orders: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_away: bool = False

    def to(self, outcomes: dict[str, tuple[str, str]]) -> ClaimedFile:
        """The same, with the rows' outcomes by order: what really became of them, and why."""
        rows = [
            replace(row, outcome=outcomes[row.order][0], reason=outcomes[row.order][1])
            if row.outcome == "taken" and row.order in outcomes
            else row
            for row in self.rows
        ]
        return replace(self, rows=rows)


class Folder:
    """A watched folder of one channel."""

    def __init__(self, path: Path, channel: str, declared: DropFolderFormat | None = None) -> None:
        self.path = path
        self.declared = declared or DropFolderFormat()
        self._topic = raw_channel(channel).name
        self._claimed = path / ".claimed"
        self._entries = Entries(path, self.declared)
        self._unfit: list[tuple[Path, Unreadable]] = []
        self._stuck: dict[str, bool] = {}  # what cannot be moved, and whether that was said
        self.pending: set[str] = set()  # claimed, written, and not finished yet

    def prepare(self) -> None:
        """Make the folder and those beside it. Raises `OSError`."""
        self._claimed.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        for place in (self.path / "done", self.path / "rejected", self.path / "reports"):
            if not place.is_dir():
                place.mkdir()
                place.chmod(mode)  # whoever may drop files may see what became of them

    def claim(self) -> list[str]:
        """Claim what has come and is written to its end; returns the names of all claimed files, oldest name first."""
        whole, self._unfit = self._entries.look()
        for path in whole[: max(0, AT_ONCE - len(self.pending))]:
            if self._move(path, self._claimed / clean_name(path.name)) and self.declared.complete == "marker":
                path.with_name(path.name + self.declared.marker).unlink(missing_ok=True)
        names = sorted(entry.name for entry in self._claimed.iterdir())
        return [name for name in names if name not in self.pending][:AT_ONCE]

    def reject(self) -> list[ClaimedFile]:
        """Put away what the last look found to be no order file. Returns it, for its exceptions."""
        return [dropped for path, error in self._unfit[:AT_ONCE] if (dropped := self._rejected(path, error)) is not None]

    def _rejected(self, path: Path, error: Unreadable) -> ClaimedFile | None:
        dropped = ClaimedFile(clean_name(path.name), [], [], str(error), is_away=True)
        if self._move(path, self.path / "rejected" / dropped.name):
            self._report(dropped, dropped.name)
            return dropped
        if path.name in self._stuck and not self._stuck[path.name]:
            self._stuck[path.name] = True
            return replace(dropped, refused=f"{dropped.refused}; it could not be moved away: remove it")
        return None

    def _move(self, path: Path, target: Path) -> bool:
        """Whether it was moved. What cannot be is left where it is, and stops nothing."""
        try:
            path.rename(free(target))
        except FileNotFoundError:
            return False  # another watcher has it, or it was taken back
        except OSError as error:
            if path.name not in self._stuck:
                self._stuck[path.name] = False
                _log.warning("a file cannot be moved and is left where it is", file=path.name, reason=str(error))
            return False
        return True

    def take(self, name: str, at_ms: int) -> ClaimedFile | None:
        """Read a claimed file; none if it is gone."""
        path = self._claimed / name
        try:
            data = read_bounded(path, self.declared.max_bytes)
            if path.lstat().st_size != len(data):  # whoever writes it had only paused: nothing of it is in the log yet
                return None  # it is read again at the next turn
            notes = [note] if (note := ahead(path)) else []
            found = report(data, self._topic, at_ms, self.declared.layout, self.declared.encoding)
        except FileNotFoundError:
            return None
        except BadMessage as error:
            return ClaimedFile(name, [], [], f"{error.reason}; {error.hint}")
        except Unreadable as error:
            return ClaimedFile(name, [], [], str(error))
        except Exception as error:
            _log.exception("a file cannot be processed", file=name)
            why = f"it cannot be processed ({type(error).__name__}); this is a defect of crossdock: see its log"
            return ClaimedFile(name, [], [], why)
        marks = (*headers_of(CSV), ("crossdock.file", name.encode()), (LAYOUT, found.layout.to_header()))
        records = [Outgoing(self._topic, 0, None, order.text, marks) for order in found.orders]
        return ClaimedFile(name, records, found.rows, None, [order.order for order in found.orders], found.ids, notes)

    def finish(self, dropped: ClaimedFile) -> None:
        """Write the report and put the file away: its orders are in the log."""
        if dropped.is_away:
            return
        target = free(self.path / ("done" if dropped.refused is None else "rejected") / dropped.name)
        self._report(dropped, target.name)
        (self._claimed / dropped.name).rename(target)
        self.pending.discard(dropped.name)

    def _report(self, dropped: ClaimedFile, name: str) -> None:
        rows: list[list[object]] = [["row", "order", "line", "outcome", "reason"]]
        rows += [["", "", "", "note", note] for note in dropped.notes]
        rows += [[row.number, row.order, row.line, row.outcome, row.reason] for row in dropped.rows]
        if dropped.refused is not None:
            rows.append(["", "", "", "refused", dropped.refused])
        write_report(free(self.path / "reports" / f"{name}.report.csv"), rows)


async def drop(turns: AsyncIterator[object], folder: Folder) -> AsyncIterator[ClaimedFile]:
    """Each file that came, claimed and read, each time a turn comes. Write its records, then `folder.finish` it.

    What was rejected comes too, without records: it is put away already.
    """
    async for _ in turns:
        for name in await asyncio.to_thread(folder.claim):
            dropped = await asyncio.to_thread(folder.take, name, time.time_ns() // 1_000_000)
            if dropped is not None:
                yield dropped
        for dropped in await asyncio.to_thread(folder.reject):
            yield dropped
