"""The command line. Commands that look ask the running crossdock that holds the directory, or open the directory themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from importlib.metadata import entry_points
from typing import Any, NoReturn

import structlog
import typer

from connectors.texts import masked, visible
from streams.cli import checks, clock, feeds, interventions, proofs, reads, registry, serve
from streams.cli.output import CommandFailed, UserError, err
from streams.engine.log import StoreFailed
from streams.runtime.compiled_check import outdated
from streams.settings.settings import BadSettings

MORE_COMMANDS = "crossdock.commands"
"""The entry points of packages that bring commands of their own: each is a function that is given the application below."""

RUN, ASK, CORRECT, CHECK = "Run it", "Look up", "Correct", "Check"
HELP = """Available to promise and order status, exact and explainable, from ERP, WMS and channel events.

crossdock run                                serve the HTTP API and the page
crossdock ingest stock.ndjson --source wms   take in a warehouse's events
crossdock atp 00010000                       what can be promised of an item
crossdock order web:1042                     how far an order has got
crossdock doctor                             is everything in order

Each command says with --help what it takes, with examples.
"""

app = typer.Typer(
    name="crossdock",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
app.command(rich_help_panel=RUN)(serve.run)
app.command(rich_help_panel=RUN)(feeds.ingest)
app.command(rich_help_panel=ASK)(reads.atp)
app.command(rich_help_panel=ASK)(reads.order)
app.command(rich_help_panel=ASK)(reads.explain)
app.command(rich_help_panel=ASK)(reads.audit)
app.command("table", rich_help_panel=ASK)(reads.show_table)
app.command(rich_help_panel=ASK)(reads.exceptions)
app.command(rich_help_panel=CORRECT)(feeds.replay)
app.command(rich_help_panel=CORRECT)(interventions.skip)
app.command(rich_help_panel=CORRECT)(interventions.resume)
app.command(rich_help_panel=CORRECT)(interventions.settle)
app.command(rich_help_panel=CORRECT)(clock.clock)
app.command(rich_help_panel=CHECK)(checks.doctor)
app.command(rich_help_panel=CHECK)(proofs.verify)
app.command("reconcile", rich_help_panel=CHECK)(feeds.reconcile_with)
app.command(rich_help_panel=CHECK)(checks.topics)
app.add_typer(registry.schemas, name="schemas", rich_help_panel=CHECK)
for more in sorted(entry_points(group=MORE_COMMANDS), key=lambda found: found.name):
    more.load()(app)


def main() -> NoReturn:
    """Run a command. 0: done; 1: it found or met a failure; 2: the user asked for something that cannot be."""
    if changed := outdated():
        which = changed[0] + (f" and {len(changed) - 1} more" if changed[1:] else "")
        _end(
            f"{which} changed after it was compiled, so what runs is not what is written there. Run infra/compile.sh again, or"
            " infra/compile.sh --remove for plain Python.",
            2,
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _readable,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    os.umask(0o077)  # what is kept of customers and prices is for whoever runs this alone
    try:
        app()
    except (UserError, BadSettings) as error:
        _end(str(error), 2)
    except (CommandFailed, StoreFailed) as error:
        _end(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)


def _readable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What is logged, with what cannot be seen written out, and without the passwords of addresses."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = masked(visible(value))
    return event


def _end(sentence: str, code: int) -> NoReturn:
    err().print(f"crossdock: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
