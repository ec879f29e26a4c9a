"""Writes the code that turns one type of event into Avro and back: a function each way, made from the type's fields.

Straight from attributes to bytes and from bytes to attributes: a library that reads a schema while it works looks each
field's type up anew and goes through a dict (ADR 0009). The bytes are those of any Avro library.

`writer(cls, head)` and `reader(cls)` make the functions; both take a few milliseconds.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from schemas import avro_bytes as avro
from schemas.frozen import Frozen, fields

Kind = Literal["optional", "list", "map", "record", "enum", "plain"]
_Refusal = Callable[[Any, Exception], ValueError]
_NULL = b"\0"
_REFUSALS = (TypeError, AttributeError, ValueError, ArithmeticError, LookupError)


def kind_of(hint: Any) -> tuple[Kind, Any]:
    """What a field's type is to Avro, and the type inside: of an item, of a map's value, of what may be none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [a for a in args if a is not types.NoneType]
        return "optional", inner
    if origin is list:
        return "list", args[0]
    if origin is dict and args[0] is str:
        return "map", args[1]
    if isinstance(hint, type) and issubclass(hint, Frozen):
        return "record", hint
    return ("enum" if isinstance(hint, type) and issubclass(hint, StrEnum) else "plain"), hint


def writer(cls: type[Any], head: bytes) -> Callable[[Any], bytes]:
    """A function from an event to `head` and its Avro bytes. It raises `ValueError`, naming the field, for what does not fit."""
    hints = _hints(cls)

    def refusal(event: Any, error: Exception) -> ValueError:
        for name, hint in hints.items():
            try:
                _writer({name: hint}, head, None)(event)
            except _REFUSALS as cause:
                return ValueError(f"{cls.__name__}.{name} is {_shown(event, name)}, which its Avro type cannot hold: {cause}")
        return ValueError(f"{cls.__name__} holds what its Avro schema cannot: {error}")

    return _writer(hints, head, refusal)


def reader(cls: type[Any]) -> Callable[[bytes, int], Any]:
    """A function from data and where its Avro begins to the event, which has to reach to the end.

    It raises `IndexError` where the data ends too early, `ValueError` or `ArithmeticError` for other damage.
    """
    code = _Code("def read(data, at):")
    event = _read_record(code, cls)
    code.add("if at != len(data): raise wrong_end(at, len(data))")
    code.bind(wrong_end=_wrong_end)
    code.add(f"return {event}")
    function: Callable[[bytes, int], Any] = code.function("read", cls.__name__)
    return function


def _wrong_end(at: int, size: int) -> Exception:
    return ValueError(f"it ends after {at} of {size} bytes") if at < size else IndexError()


def _hints(cls: type[Any]) -> dict[str, Any]:
    return {f.name: f.type for f in fields(cls)}


def _shown(event: Any, name: str) -> str:
    text = repr(getattr(event, name, None))
    return text if len(text) <= 60 else text[:57] + "..."


class _Code:
    """Lines of a function, the names it uses from outside, and fresh names for its variables."""

    def __init__(self, head: str) -> None:
        self._lines = [head]
        self._indent = " "
        self._names: dict[str, Any] = {name: getattr(avro, name) for name in dir(avro) if not name.startswith("_")}
        self._count = 0

    def add(self, line: str) -> None:
        self._lines.append(self._indent + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """What is added within stands below `head`."""
        self.add(head)
        self._indent += " "
        yield
        self._indent = self._indent[:-1]

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def bind(self, **names: Any) -> None:
        self._names.update(names)

    def constant(self, prefix: str, value: Any) -> str:
        name = self.fresh(prefix)
        self._names[name] = value
        return name

    def function(self, name: str, title: str) -> Any:
        exec(compile("\n".join(self._lines), f"<{name} {title}>", "exec"), self._names)  # noqa: S102 - our own field names
        return self._names[name]


# --- writing: each step adds lines that work out its parts, and returns the parts as expressions ---------------------------


def _writer(hints: Mapping[str, Any], head: bytes, refusal: _Refusal | None) -> Callable[[Any], bytes]:
    code = _Code("def write(e):")
    code.bind(NULL=_NULL, wrong=_wrong, refusal=refusal, caught=_REFUSALS if refusal else ())
    with code.block("try:"):
        parts = [code.constant("HEAD", head)]
        for name, hint in hints.items():
            parts += _write(code, f"e.{name}", hint, is_instant=name.endswith("_ms"))
        code.add(f"return b''.join(({', '.join(parts)},))")
    with code.block("except caught as error:"):
        code.add("raise refusal(e, error) from error")
    function: Callable[[Any], bytes] = code.function("write", ", ".join(hints))
    return function


def _wrong(what: str) -> TypeError:
    return TypeError(f"not {what}")


def _write(code: _Code, value: str, hint: Any, *, is_instant: bool = False) -> list[str]:
    kind, inner = kind_of(hint)
    if kind == "optional":
        return _write_optional(code, value, inner)
    if kind == "record":
        return [part for name, h in _hints(inner).items() for part in _write(code, f"{value}.{name}", h)]
    if kind in ("list", "map"):
        return [_write_items(code, value, kind, inner)]
    if kind == "enum":
        return [f"{code.constant('MEMBERS', {m: avro.blob(m.value.encode()) for m in inner})}[{value}]"]
    return _write_plain(code, value, hint, is_instant)


def _write_plain(code: _Code, value: str, hint: Any, is_instant: bool) -> list[str]:
    x = code.fresh("x")
    if hint is str:
        code.add(f"{x} = {value}.encode(); n = len({x})")
        code.add(f"n{x} = NUMBERS[n] if n < 8192 else number(n)")
        return [f"n{x}", x]
    if hint is int and not is_instant:
        code.add(f"{x} = {value}")
        return [f"NUMBERS[{x}] if -8192 <= {x} < 8192 else number({x})"]
    if hint is bool:
        code.add(f"{x} = {value}")
        return [f"b'\\1' if {x} is True else NULL if {x} is False else wrong('a truth value')"]
    write = {int: "number", bytes: "blob", date: "day", Decimal: "decimal"}[hint]
    return [f"{write}({value})"]


def _write_optional(code: _Code, value: str, inner: Any) -> list[str]:
    x, some = code.fresh("x"), code.fresh("some")
    code.add(f"{x} = {value}")
    with code.block(f"if {x} is None:"):
        code.add(f"{some} = NULL")
    with code.block("else:"):
        if inner is str:
            code.add(f"{x} = {x}.encode(); n = len({x})")
            code.add(f"{some} = (SOME[n] if n < 256 else b'\\2' + number(n)) + {x}")
        else:
            if inner is int:
                code.add(f"if {x} is True or {x} is False: raise wrong('a number')")
            code.add(f"{some} = b''.join((b'\\2', {', '.join(_write(code, x, inner))}))")
    return [some]


def _write_items(code: _Code, value: str, kind: str, inner: Any) -> str:
    """Avro's lists and maps: how many, each item, and a zero; just the zero for none."""
    rows, out, x, key = (code.fresh(p) for p in ("rows", "out", "x", "key"))
    code.add(f"{rows} = {value}")
    code.add(f"if type({rows}) is not {'list' if kind == 'list' else 'dict'}: raise wrong('a {kind}')")
    with code.block(f"if {rows}:"):
        code.add(f"{out} = [number(len({rows}))]")
        with code.block(f"for {x} in {rows}:" if kind == "list" else f"for {key}, {x} in {rows}.items():"):
            parts = _write_plain(code, key, str, False) if kind == "map" else []
            parts += _write(code, x, inner)
            code.add(f"{out} += ({', '.join(parts)},)")
        code.add(f"{out}.append(NULL); {out} = b''.join({out})")
    code.add(f"else: {out} = NULL")
    return out


# --- reading: each step adds lines that read one value at `at` into a target, and leave `at` behind it ---------------------


def _read_record(code: _Code, cls: type[Any]) -> str:
    values = {}
    for name, hint in _hints(cls).items():
        values[name] = code.fresh("v")
        _read(code, values[name], hint, is_instant=name.endswith("_ms"))
    return f"{code.constant('CLASS', cls)}({', '.join(f'{name}={value}' for name, value in values.items())})"


def _read(code: _Code, target: str, hint: Any, *, is_instant: bool = False) -> None:
    kind, inner = kind_of(hint)
    if kind == "optional":
        code.bind(wrong_branch=_wrong_branch)
        code.add("n = data[at]; at += 1")
        code.add(f"if n == 0: {target} = None")
        with code.block("elif n == 2:"):
            _read(code, target, inner)
        code.add("else: raise wrong_branch()")
    elif kind == "record":
        code.add(f"{target} = {_read_record(code, inner)}")
    elif kind in ("list", "map"):
        _read_items(code, target, kind, inner)
    elif kind == "enum":
        members = code.constant("MEMBERS", _Members((m.value.encode(), m) for m in inner))
        _read_text(code, f"{target} = {members}[data[at + 1:end]]")
    else:
        _read_plain(code, target, hint, is_instant)


def _wrong_branch() -> ValueError:
    return ValueError("a field that may be none says neither that it is nor that it is not")


class _Members(dict[bytes, Any]):
    """The members of an enum by their Avro text."""

    def __missing__(self, name: bytes) -> Any:
        raise ValueError(f"{name[:40]!r} is none of {', '.join(self.values())}")


def _read_text(code: _Code, take: str) -> None:
    code.add("end = at + STEPS[data[at]]")
    code.add("if end == at: at, end = read_span(data, at)")
    code.add(f"{take}; at = end")


def _read_plain(code: _Code, target: str, hint: Any, is_instant: bool) -> None:
    if hint is str:
        _read_text(code, f"{target} = data[at + 1:end].decode()")
    elif hint is bytes:
        _read_text(code, f"{target} = data[at + 1:end]")
    elif hint is Decimal:
        _read_text(code, f"{target} = to_decimal(data[at + 1:end])")
    elif hint is bool:
        code.add(f"{target} = data[at] != 0; at += 1")
    else:
        _read_number(code, target, hint is date, is_instant)


def _read_number(code: _Code, target: str, is_date: bool, is_instant: bool) -> None:
    code.bind(on_day=date.fromordinal, upper_of=avro.UPPERS.get)
    value = f"on_day({{}} + {avro.EPOCH})" if is_date else "{}"
    code.add("n = data[at]")
    code.add(f"if n < 128: {target} = {value.format('SMALL[n]')}; at += 1")
    with code.block("else:"):
        if is_instant:
            code.add("m = data[at + 1]; upper = upper_of(data[at + 2:at + 6])")
            code.add(f"if upper is None or m < 128 or n & 1: {target}, at = read_instant(n, data, at)")
            code.add(f"else: {target} = (n + (m << 7) >> 1) + upper; at += 6")
        else:
            code.add(f"n, at = read_long(n, data, at); {target} = {value.format('n')}")


def _read_items(code: _Code, target: str, kind: str, inner: Any) -> None:
    rows, count, x, key = (code.fresh(p) for p in ("rows", "count", "x", "key"))
    code.add(f"{rows} = {target} = {'[]' if kind == 'list' else '{}'}")
    with code.block("while data[at]:"):
        code.add(f"{count}, at = read_count(data, at)")
        code.add(f"if {count} == 0: break")
        with code.block(f"for _ in range({count}):"):
            if kind == "map":
                _read_plain(code, key, str, False)
            _read(code, x, inner)
            code.add(f"{rows}.append({x})" if kind == "list" else f"{rows}[{key}] = {x}")
    code.add("else: at += 1")
