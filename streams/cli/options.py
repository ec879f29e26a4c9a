"""Options that many commands share."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from streams.cli.output import UserError
from streams.settings.settings import Settings, load

N = TypeVar("N", bound=str)
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Directory of the embedded log, or of what is kept beside Kafka (default: the settings').",
        show_default=False,
    ),
]
LogOption = Annotated[
    str | None,
    typer.Option("--log", help="embedded:<directory> or kafka://<host>:<port> (default: the settings').", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]


def settings_for(data: Path | None) -> Settings:
    """The settings, with the directory given on the command line."""
    return settings_with(data)


def settings_with(data: Path | None, **given: Any) -> Settings:
    """The settings with what the command line says (`None`: nothing). A directory holds the log, unless that is on Kafka."""
    told = {name: value for name, value in given.items() if value is not None}
    if data is None:
        return load(**told)
    settings = load(data=data, **told)
    return settings if settings.is_kafka else load(data=data, **{**told, "log": f"embedded:{data}"})


def roles_named(text: str | None, known: Sequence[N]) -> tuple[N, ...]:
    """Roles with commas between, as `--roles` takes them, in the order of `known`; all of them without any. Raises
    `UserError`.
    """
    if text is None:
        return tuple(known)
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UserError(f"{unknown[0] if unknown else text!r} is not a role. There are {', '.join(known)}.")
    return tuple(role for role in known if role in names)


def user() -> str:
    """Who runs the command, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
