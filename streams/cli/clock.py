"""The command about the clock: clock."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from streams.cli.options import AsJson, Data, settings_for
from streams.cli.output import as_json, out
from streams.cli.session import ask, read, session


def clock(
    is_confirmed: Annotated[
        bool,
        typer.Option("--confirm", help="The machine's clock is right: believe it. Who said so is written down."),
    ] = False,
    person: Annotated[str | None, typer.Option(help="Who confirms it (default: the user).", show_default=False)] = None,
    note: Annotated[str, typer.Option(help="With --confirm: how it was found to be right.")] = "",
    is_json: AsJson = False,
    data: Data = None,
) -> None:
    """What time it is for crossdock, and whether it believes the machine's clock: after a step it does not, until somebody looks.

    crossdock clock
    crossdock clock --confirm --note "compared with the time server"
    """
    with session(settings_for(data)) as source:
        if is_confirmed:
            body: dict[str, Any] = {"person": person or getpass.getuser(), "note": note}
            found = read(ask(source, "POST", "/v1/clock/confirm", json=body))
        else:
            found = read(ask(source, "GET", "/v1/clock"))
    if is_json:
        as_json(found)
        return
    out().print(f"It is {found['now']}: {found['says']}.", markup=False, highlight=False, soft_wrap=True)
