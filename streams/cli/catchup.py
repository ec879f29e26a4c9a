"""The progress bar of rows that are caught up, on standard error."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from streams.cli.output import err
from streams.monitoring.local_rows import CatchingUp
from streams.runtime.app import App

LOOK_S = 0.25
QUIET_S = 1.0
"""What is caught up sooner is not worth a bar."""


class CatchUpBar:
    """Changes read of those to be read, and how many a second. A context."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("catching up {task.fields[parts]}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} changes, {task.fields[speed]:,.0f}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err(),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> CatchUpBar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, now: CatchingUp) -> None:
        """How far it is."""
        parts = f"{now.of - now.partitions} of {now.of} partitions"
        if self._task is None:
            self._task = self._progress.add_task("", total=now.total, parts=parts, speed=now.rows_per_s)
        self._progress.update(self._task, total=now.total, completed=now.done, parts=parts, speed=now.rows_per_s)


class CatchUpWatcher:
    """Shows the bar whenever the rows of a running app are caught up, in a thread, until `close`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._thread = app.keeper.thread("catching up", self._run, self._stopping, is_vital=False)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(QUIET_S):
            self._thread.beat()
            if self._app.catching_up().partitions:
                with CatchUpBar() as bar:
                    while not self._stopping.wait(LOOK_S) and (now := self._app.catching_up()).partitions:
                        bar.show(now)
