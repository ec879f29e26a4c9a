"""`crossdock chaos`: worker processes on brokers of their own, broken on purpose, and everything checked after each fault."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.options import AsJson
from streams.cli.output import CommandFailed, UserError, as_json, err, out, progress, table

if TYPE_CHECKING:
    from infra.chaos.course import FaultReport
    from infra.chaos.run import ChaosReport


def chaos(
    minutes: Annotated[float, typer.Option(min=0, help="For how long; 0: one round, in which each fault strikes once.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The first round's seed: it decides the input and whom what hits.")] = 1,
    faults: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    brokers: Annotated[int, typer.Option(min=1, max=9, help="How many brokers to start.")] = 3,
    is_json: AsJson = False,
) -> None:
    """Run worker processes on brokers started for it, break one thing after another, and hold all of it against the oracle.

    crossdock chaos --minutes 30 --seed 7
    crossdock chaos --faults kill-point,broker-kill
    """
    from infra.chaos.cluster import NoCluster  # noqa: PLC0415 - nothing else needs any of it
    from infra.chaos.faults import FAULTS  # noqa: PLC0415
    from infra.chaos.run import chaos as run_chaos  # noqa: PLC0415

    names = [name.strip() for name in faults.split(",")] if faults else list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        raise UserError(f"There is no fault {unknown[0]!r}. There are: {', '.join(FAULTS)}.")
    # Ended in whatever way, it ends its brokers and workers and unmounts its disk.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bar, task = progress("starting", None if minutes else len(names))

    def told(struck: FaultReport) -> None:
        bar.advance(task)
        lines = [f"{struck.fault}: {struck.what} ({struck.recovery_s:.1f} s to recover)", *struck.wrong]
        bar.console.print("\n  ".join(lines), markup=False, highlight=False, style="red" if struck.wrong else None)

    try:
        with bar:
            report = run_chaos(
                seed, minutes=minutes or None, faults=names, brokers=brokers, told=told,
                began=lambda what: bar.update(task, description=what),
            )  # fmt: skip
    except NoCluster as error:
        raise UserError(str(error)) from None
    _show(report, is_json=is_json)
    if report.failed:
        first = report.failed[0]
        again = f"crossdock chaos --seed {first.seed} --brokers {brokers}" + (f" --faults {faults}" if faults else "")
        raise CommandFailed(f"After {first.fault} not everything held. The same input and the same faults again: {again}")
    if report.left_out and (faults or not report.struck):
        raise CommandFailed(f"Nothing is known of {', '.join(report.left_out)}: left out, see above for why.")


def _show(report: ChaosReport, *, is_json: bool) -> None:
    if is_json:
        as_json(asdict(report) | {"survived": report.survived, "is_ok": not report.failed})
        return
    rows = []
    for name in dict.fromkeys(one.fault for one in report.struck):
        hits = [one for one in report.struck if one.fault == name]
        took = sorted(one.recovery_s for one in hits)
        held = sum(1 for one in hits if not one.wrong)
        rows.append((name, f"{held} of {len(hits)}", f"{took[len(took) // 2]:.1f}", f"{took[-1]:.1f}", hits[0].checked))
    columns = ("fault", "survived", "recovery s, median", "most", "checked after it")
    title = f"{report.survived} faults survived in {report.rounds} rounds, seeds from {report.seed}"
    out().print(table(title, columns, rows, right=("survived", "recovery s, median", "most")))
    for name, why in report.left_out.items():
        err().print(f"{name} was left out: {why}.", style="yellow", soft_wrap=True)
