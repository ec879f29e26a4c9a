"""CPU time by part of the process: machines are shared, and what a part costs does not depend on who else runs."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

OTHERS = "others"  # the log's own threads, and helpers


def cpu_ms(sandbox_pid: int) -> Counter[str]:
    """CPU milliseconds so far of each named thread, and of the sandbox beside us. Empty where the system does not say."""
    names = {thread.native_id: _part(thread.name) for thread in threading.enumerate()}
    found: Counter[str] = Counter()
    for task in Path("/proc/self/task").glob("*"):
        found[names.get(int(task.name), OTHERS)] += _spent_ms(task)
    for task in Path(f"/proc/{sandbox_pid}/task").glob("*"):
        found["sandbox"] += _spent_ms(task)
    return found


def _part(name: str) -> str:
    if name == "MainThread":
        return "channels"  # who brings the orders in
    return "helpers" if name.startswith(("asyncio_", "AnyIO", "ThreadPool")) else name


def _spent_ms(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0]) // 1_000_000
    except (OSError, ValueError):
        return 0  # it has ended meanwhile
