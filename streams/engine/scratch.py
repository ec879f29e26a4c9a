"""A store for rows that are needed once: on disk, so that memory stays bounded, and gone at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from streams.engine.scans import scan_items
from streams.engine.table import Change


class ScratchStore:
    """A `Store` in a temporary directory. A context manager: its end removes the rows."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="crossdock-scratch-")
        self._rows = Rdict(self._directory.name, Options(raw_mode=True))
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment] # a property, whatever the stub says

    def __enter__(self) -> ScratchStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._rows.close()
        self._directory.cleanup()

    def get(self, key: bytes) -> bytes | None:
        """The row, or none."""
        row: bytes | None = self._rows.get(key)
        return row

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high` in order, as of the call."""
        return scan_items(self._rows, low, high)

    def write(self, changes: list[Change]) -> None:
        """Set rows, or remove them (none)."""
        batch = WriteBatch(raw_mode=True)
        for key, row in changes:
            if row is None:
                batch.delete(key)
            else:
                batch.put(key, row)
        self._rows.write(batch, self._unlogged)
