"""`crossdock simulate`: the whole system on a log that fails on purpose, held against an independent model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from streams.cli.options import AsJson
from streams.cli.output import CommandFailed, as_json, out, progress


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 100,
    seed: Annotated[int | None, typer.Option(help="This one seed only: it replays exactly.")] = None,
    start: Annotated[int, typer.Option(help="The first seed.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    is_json: AsJson = False,
) -> None:
    """Run the whole system on a log that fails on purpose, from seeds, against an independent model of what is right.

    crossdock simulate --seeds 300
    crossdock simulate --seed 42
    """
    from infra.simulation.run import SimulationReport, simulate_many  # noqa: PLC0415 - a thousand lines no other command needs

    wanted = range(start, start + seeds) if seed is None else [seed]
    messages = 0
    bar, task = progress("seeds", len(wanted))

    def told(report: SimulationReport) -> None:
        nonlocal messages
        messages += report.messages
        bar.advance(task)

    with bar:
        failed = simulate_many(wanted, jobs, told)
    if is_json:
        as_json({"seeds": len(wanted), "messages": messages, "failed": [asdict(report) for report in failed]})
    else:
        for report in failed:
            out().print(str(report), markup=False)
        out().print(f"{len(wanted) - len(failed):,} of {len(wanted):,} seeds hold every invariant; {messages:,} messages")
    if failed:
        raise CommandFailed(f"{len(failed)} seeds failed; the first: crossdock simulate --seed {failed[0].seed}")
