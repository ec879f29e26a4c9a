"""What a rule sees of its state: small typed rows in ordered tables. In the engine they are durable, in tests they are dicts."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")
T = TypeVar("T")


RowTypes = dict[str, tuple[tuple[type[Any], ...], type[Any]]]
_ROW_TYPES: dict[type[object], RowTypes] = {}  # reading annotations is slow, and every opened partition asks


class Table(Protocol[K, V]):
    """Rows by key, in key order. A key is a tuple of `str`, `int`, `date`; its first part is the fold's own key.

    Rows are `schemas.frozen.Frozen`: change one by setting another. Keys of one table have the same types throughout.
    """

    def get(self, key: K) -> V | None:
        """The row, or none."""
        ...

    def __getitem__(self, key: K) -> V:
        """The row. Raises `KeyError`."""
        ...

    def __setitem__(self, key: K, row: V) -> None: ...

    def __delitem__(self, key: K) -> None:
        """Remove the row. Raises `KeyError` if there is none."""
        ...

    def __contains__(self, key: object) -> bool: ...

    def under(self, *prefix: object) -> Iterator[tuple[K, V]]:
        """All rows whose key starts with `prefix`, in order. Rows set or removed meanwhile may or may not show."""
        ...

    def range(self, low: tuple[object, ...], high: tuple[object, ...]) -> Iterator[tuple[K, V]]:
        """All rows with `low <= key < high`, compared as tuples, in order."""
        ...


class DictTable(dict[K, V]):
    """A `Table` in a plain dict: for unit tests, property tests and oracles. It sorts on demand."""

    def get(self, key: K, default: V | None = None) -> V | None:  # type: ignore[override]
        """The row, or none."""
        return super().get(key, default)

    def under(self, *prefix: object) -> Iterator[tuple[K, V]]:
        """All rows whose key starts with `prefix`, in order."""
        n = len(prefix)
        return iter([(k, self[k]) for k in sorted(k for k in self if k[:n] == prefix)])

    def range(self, low: tuple[object, ...], high: tuple[object, ...]) -> Iterator[tuple[K, V]]:
        """All rows with `low <= key < high`, in order."""
        return iter([(k, self[k]) for k in sorted(k for k in self if low <= k < high)])


def row_types(tables: type[object]) -> RowTypes:
    """The tables of a tables class: name -> (types of the key's parts, row type), read from its annotations."""
    found = _ROW_TYPES.get(tables)
    if found is None:
        found = _ROW_TYPES[tables] = {
            name: (typing.get_args(typing.get_args(hint)[0]), typing.get_args(hint)[1])
            for name, hint in typing.get_type_hints(tables).items()
            if typing.get_origin(hint) is Table
        }
    return found


def in_memory(tables: type[T]) -> T:
    """An instance of a tables class on plain dicts."""
    return tables(**{name: DictTable() for name in row_types(tables)})
