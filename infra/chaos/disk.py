"""A small disk of its own for one worker, which can be filled to the last byte."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

MB = 1024 * 1024
SIZE_MB = 512


class SmallDisk:
    """A tmpfs at a directory. Needs root."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        made = _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(directory))
        self.why_not = None if made.returncode == 0 else f"no small disk could be made: {made.stderr.strip()}"

    def fill(self) -> None:
        """Leave no byte free."""
        filler = os.open(self.directory / "filler", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for size in (MB, 4096, 1):
            with suppress(OSError):  # until there is no more room for a piece of this size
                while True:
                    os.write(filler, b"\0" * size)
        os.close(filler)

    def free(self) -> None:
        """Take the filling out."""
        (self.directory / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount."""
        if self.why_not is None:
            _run("umount", "-l", str(self.directory))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the system's own tools


def why_no_disk() -> str | None:
    """Why this process cannot have one; none if it can."""
    return None if os.geteuid() == 0 else "a small disk of its own (tmpfs) can only be made by root"
