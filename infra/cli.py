"""The laboratory's commands: the demonstration at the top of `crossdock --help`, what proves and measures at its end."""

from __future__ import annotations

import typer

from infra.bench.cli import bench
from infra.bench.peers.cli import peers
from infra.chaos.cli import chaos
from infra.demo.cli import demo
from infra.simulation.cli import simulate

BEGIN, PROVE = "Start here", "Test and measure"


def register(app: typer.Typer) -> None:
    """Add the commands to crossdock's."""
    app.command(rich_help_panel=BEGIN)(demo)
    app.registered_commands.insert(0, app.registered_commands.pop())  # a newcomer reads from the top
    app.command(rich_help_panel=PROVE)(simulate)
    app.command(rich_help_panel=PROVE)(chaos)
    bench.command()(peers)
    app.add_typer(bench, name="bench", rich_help_panel=PROVE)
