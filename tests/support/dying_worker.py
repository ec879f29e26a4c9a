"""A worker in a process of its own that kills itself at a named point of its nth batch: `python -m ... DIRECTORY POINT NTH`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from streams.engine.embedded.log import EmbeddedLog
from tests.support.toy_flows import drain, new_worker


def main(directory: str, point: str, nth: int) -> None:
    seen = 0

    def at(now: str) -> None:
        nonlocal seen
        seen += now == point
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    log = EmbeddedLog(Path(directory), clock_ms=lambda: 5_000)
    drain(new_worker(log, batch=7, at=at))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
