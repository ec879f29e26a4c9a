"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.settings import Settings, load

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
