"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.settings import Settings, load

Data = Annotated[
    Path | None, typer.Option("--data", help="Directory of the embedded log (default: the settings').", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]


def settings_for(data: Path | None) -> Settings:
    """The settings, with the directory given on the command line."""
    return load() if data is None else load(data=data, log=f"embedded:{data}")
