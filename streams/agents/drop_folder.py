"""A drop folder on disk: which of its files are whole, claimed by renaming them, read within bounds, and put away.

Whoever writes into it is a stranger. So only regular files with one name are read, of a bounded size, and their names are cleaned
before they are written anywhere. What cannot be read goes to `rejected/`, and never stops what comes behind it.
"""

from __future__ import annotations

import csv
import fcntl
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from connectors.files.layout import UNDECLARED, Layout, is_ended
from connectors.texts import visible

Complete = Literal["newline", "rest", "rename", "marker"]
AT_ONCE = 100
MOST_ENTRIES = 10_000
SETTLED_S = 2.0
PATIENCE_S = 60.0
AHEAD_S = 60.0
_OWN = frozenset({".claimed", "done", "rejected", "reports"})
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".swp", "~")
_MOST_NAME = 100
_UNCLEAN = re.compile(r"[^\w.\- ]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True)
class DropFolderFormat:
    """What a folder's settings say of its files.

    `complete`: what shows that a file is whole: its last line ends (`newline`), it has not changed for `settled_s` (`rest`; both
    wait for that, and for whoever on this machine still has it open for writing), it
    has got its name (`rename`: it is written under another, like `x.csv.part`), or another file beside it, named as it is with
    `marker` after it, has come (`marker`). A file that is not whole after `patience_s` is rejected.
    """

    complete: Complete = "newline"
    marker: str = ".done"
    settled_s: float = SETTLED_S
    patience_s: float = PATIENCE_S
    max_bytes: int = 32 << 20
    layout: Layout = UNDECLARED
    encoding: str | None = None


WHOLE_LINES = DropFolderFormat()
"""Of a folder whose settings say nothing."""


class Unreadable(Exception):
    """A file that is not taken: why, and what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}; {hint}")


class Entries:
    """The entries of a folder, from one look to the next: which are whole, which never will be."""

    def __init__(self, path: Path, declared: DropFolderFormat, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._declared = declared
        self._clock_s = clock_s
        self._seen: dict[str, tuple[tuple[int, ...], float]] = {}  # how each looked, and since when it has looked so

    def look(self) -> tuple[list[Path], list[tuple[Path, Unreadable]]]:
        """The files that are whole, by name, and what is to be rejected."""
        found = {e.name: e for e in islice(os.scandir(self._path), MOST_ENTRIES) if e.name not in _OWN and e.name != "refused"}
        self._seen = {name: seen for name, seen in self._seen.items() if name in found}
        whole: list[Path] = []
        rejected: list[tuple[Path, Unreadable]] = []
        for name in sorted(found):
            try:
                if self._is_whole(name, found):
                    whole.append(self._path / name)
            except Unreadable as error:
                rejected.append((self._path / name, error))
            except FileNotFoundError:
                continue  # another watcher has it, or it was taken back
            except OSError as error:
                rejected.append((self._path / name, _failed(error)))
        return whole, rejected

    def _is_whole(self, name: str, found: dict[str, os.DirEntry[str]]) -> bool:
        """Raises `Unreadable`, `OSError`."""
        status = found[name].stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"it is {_kind(status.st_mode)}", "drop regular files only")
        since_s = self._unchanged_s(name, status)
        age_s = time.time() - status.st_mtime
        rested_s = since_s if age_s < 0 else max(since_s, age_s)
        marker = self._declared.marker if self._declared.complete == "marker" else ""
        if marker and name.endswith(marker):
            return self._has_file(name.removesuffix(marker), found, rested_s)
        if name.startswith(".") or name.lower().endswith(_UNFINISHED):
            self._wait(rested_s, "its name says that it is still being written", "rename it when it is whole")
            return False
        if (
            rested_s < self._declared.settled_s
            and self._declared.complete != "rename"
            and not (marker and name + marker in found)
        ):
            return False
        if Path(name).suffix.lower() != ".csv":
            raise Unreadable("it is not an order file", "drop order files, whose names end in .csv")
        if status.st_nlink > 1:
            self._wait(rested_s, "it has a second name elsewhere (a hard link)", "drop a file of its own")
            return False
        return self._shows_it(name, found, rested_s)

    def _shows_it(self, name: str, found: dict[str, os.DirEntry[str]], rested_s: float) -> bool:
        """Whether the file shows that it is whole, the way its folder declares."""
        if self._declared.complete == "marker":
            marker = name + self._declared.marker
            if marker not in found:
                self._wait(rested_s, f"{visible(marker)} has not come", "write it when the file is whole")
            return marker in found
        if self._declared.complete != "rename" and is_open_for_writing(self._path / name):
            self._wait(
                rested_s, "a program has it open for writing, and writes nothing", "end that program, and drop the file again"
            )
            return False
        if self._declared.complete == "newline" and not _ends(self._path / name):
            self._wait(
                rested_s,
                "its last line does not end: it seems to be half written",
                'end the last line with a line break, or declare complete = "rest" in the folder\'s settings',
            )
            return False
        return True

    def _has_file(self, name: str, found: dict[str, os.DirEntry[str]], rested_s: float) -> bool:
        if name not in found:
            self._wait(rested_s, "it marks a file that has not come", "drop the file before its marker")
        return False

    def _wait(self, rested_s: float, reason: str, hint: str) -> None:
        """Raises `Unreadable` if it has been so for longer than there is patience."""
        if rested_s > self._declared.patience_s:
            raise Unreadable(reason, hint)

    def _unchanged_s(self, name: str, status: os.stat_result) -> float:
        """For how long we have seen it as it is."""
        looks = (status.st_size, status.st_mtime_ns, status.st_ino)
        if self._seen.get(name, ((), 0.0))[0] != looks:
            self._seen[name] = (looks, self._clock_s())
        return self._clock_s() - self._seen[name][1]


def is_open_for_writing(path: Path) -> bool:
    """Whether a program on this machine may still be writing the file: Linux gives no read lease on one then.

    Where leases are not to be had (another's file, a network's file system), nothing is known, and it says no.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        # Somebody opening it in between breaks the lease, which is told by a signal: by one that nobody minds.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """A regular file's bytes. Raises `Unreadable` for any other thing, and, before it is read, for a file that is too large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failed(error) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"it is {_kind(status.st_mode)}", "drop regular files only")
        if status.st_size > most_bytes:
            raise Unreadable(f"it has {status.st_size:,} bytes, more than {most_bytes:,}", "send it in parts")
        try:
            data = file.read(most_bytes + 1)
        except OSError as error:
            raise _failed(error) from None
    if len(data) > most_bytes:
        raise Unreadable(f"it has more than {most_bytes:,} bytes", "send it in parts")
    return data


def write_report(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """A CSV file that a spreadsheet shows as it is: no cell of a stranger's becomes a formula."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out:
        csv.writer(out).writerows([_plain(str(cell)) for cell in row] for row in rows)
    part.chmod(stat.S_IMODE(path.parent.stat().st_mode) & 0o666)
    part.rename(path)


def clean_name(name: str) -> str:
    """A name of our own for a file: bounded, with letters, digits, `.`, `-`, `_` and blanks alone."""
    stem, dot, suffix = _UNCLEAN.sub("_", name).rpartition(".")
    stem, suffix = (stem, dot + suffix[:10]) if dot else (suffix, "")
    return (stem[:_MOST_NAME].lstrip(". ") or "file") + suffix


def free(path: Path) -> Path:
    """The path, or one beside it while that is taken: no file is ever written over."""
    found, n = path, 1
    while os.path.lexists(found):
        n += 1
        found = path.with_name(f"{path.stem}-{n}{path.suffix}")
    return found


def ahead(path: Path) -> str:
    """What is to be said of a file's time, if it is in the future."""
    ahead_s = path.lstat().st_mtime - time.time()
    if ahead_s < AHEAD_S:
        return ""
    return f"the file's time is {ahead_s / 60:,.0f} minutes in the future: check the clock of the system that wrote it"


def _ends(path: Path) -> bool:
    """Whether its last line ends, without reading the rest."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
        return is_ended(file.read(4))


def _plain(cell: str) -> str:
    shown = visible(cell).replace("\n", "\\n")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _failed(error: OSError) -> Unreadable:
    return Unreadable(f"it cannot be read ({error.strerror or type(error).__name__})", "check its rights and its disk")
