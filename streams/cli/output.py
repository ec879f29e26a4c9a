"""How the command line speaks: tables on standard output, one clear sentence on standard error, an exit code for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from connectors.texts import masked, visible, visible_json


class UserError(Exception):
    """The user asked for something that cannot be: said in one sentence, exit code 2."""


class CommandFailed(Exception):
    """It could not be done, or a check found something: exit code 1."""


class Terminal(Console):
    """A console on which no text from outside commands the terminal or turns its neighbours around: all go through here."""

    def render_str(self, text: str, **how: Any) -> Text:
        """A text with what cannot be seen written out, and without the passwords of addresses."""
        return super().render_str(masked(visible(text)), **how)


def out() -> Console:
    """Standard output, wide enough for a table when it is not a terminal."""
    console = Terminal()
    return console if console.is_terminal else Terminal(width=160)


def err() -> Console:
    """Standard error."""
    return Terminal(stderr=True)


def number(value: Any) -> str:
    """A quantity with thousands apart: 1234.5 -> 1,234.5."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
    return "" if value is None else str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> Table:
    """A rich table; `right` names the columns of numbers."""
    width = min(len(title), 100) or None
    made = Table(title=escape(title) or None, title_justify="left", header_style="bold", min_width=width)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(number(cell)) for cell in row))
    return made


def as_json(data: Any) -> None:
    """Data as one JSON document, decimals as numbers."""
    as_it_is(orjson.dumps(data, default=_exact, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def as_it_is(document: str) -> None:
    """A JSON document, with what cannot be seen in JSON's own escapes."""
    print(visible_json(document))


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def progress(label: str, total: float | None, *, is_quiet: bool = False) -> tuple[Progress, Any]:
    """A progress bar on standard error: use it as a context, advance its task."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err(),
        transient=True,
        disable=is_quiet,
    )
    return bar, bar.add_task(label, total=total)


def parse(text: str) -> Any:
    """JSON with exact numbers."""
    return json.loads(text, parse_float=Decimal)
