"""The command that proves that the tables are what their log says: verify."""

from __future__ import annotations

from dataclasses import asdict

from schemas.codec import Codec
from streams.cli.options import AsJson, Data, settings_for
from streams.cli.output import CommandFailed, UserError, as_json, err, out, progress, table
from streams.cli.session import beside, caught_up, running
from streams.engine.verdict import Verdict, overall
from streams.engine.verify import PartitionReport
from streams.engine.verify import verify as verified
from streams.flows.groups import ROLES, by_group, group_of
from streams.runtime.app import App
from streams.runtime.open_log import opened_log
from streams.runtime.policy_history import mixed
from streams.settings.settings import Settings


def verify(is_json: AsJson = False, data: Data = None) -> None:
    """Fold the whole log again from its start and compare every row with the tables. 0 only if all are the same.

    crossdock verify
    """
    settings = settings_for(data)
    url = running(settings.directory)
    if url is not None:
        raise UserError(f"A crossdock runs on {settings.directory}, at {url}, and would change it meanwhile: stop it first.")
    found = _verified(settings)
    verdict = overall(p.verdict for p in found)
    counts = {each: sum(p.verdict is each for p in found) for each in Verdict}
    if is_json:
        rows = [
            asdict(p)
            | {"partition": f"{p.partition.topic}/{p.partition.partition}", "is_same": p.is_same, "is_unknown": p.is_unknown}
            for p in found
        ]
        told = {"verdict": verdict, "is_same": verdict is Verdict.SAME, "counts": counts}
        as_json(told | {"inputs": sum(p.inputs for p in found), "partitions": rows})
    else:
        _show_verified(found)
    if changed := mixed(settings.directory, settings.to_policies()):
        err().print(changed, style="yellow", soft_wrap=True)
    if verdict is not Verdict.SAME:
        raise CommandFailed(_summary(counts, len(found)))


def _summary(counts: dict[Verdict, int], total: int) -> str:
    """What is wrong, in a sentence."""
    said = []
    if different := counts[Verdict.DIFFERENT]:
        said.append(f"{different} of {total} partitions are not what their log says.")
    if unknown := counts[Verdict.UNKNOWN]:
        said.append(
            f"Nothing is known of {unknown} of {total} partitions, because they could not be compared: see above for why."
        )
    return " ".join(said) or "There was nothing to compare."


def _verified(settings: Settings) -> list[PartitionReport]:
    """The report on every partition, group by group."""
    patience_s = 5.0 + (2 * settings.kafka.session_ms / 1000 if settings.is_kafka else 0.0)  # the dead hold theirs so long
    found: list[PartitionReport] = []
    with opened_log(settings, may_create=False, directory=beside(settings)) as log:
        app = App(settings, log, roles={"serve"} if settings.is_kafka else ROLES)
        app.look()
        caught_up(app)
        bar, task = progress("folding again", None)
        with bar:
            for group, flows in by_group(app.flows, group_of(is_kafka=settings.is_kafka)).items():
                told = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731 - one line, used once
                found += verified(log, flows, Codec(), told, group=group, patience_s=patience_s).partitions
    return found


def _show_verified(partitions: list[PartitionReport]) -> None:
    flows: dict[str, list[PartitionReport]] = {}
    for p in partitions:
        flows.setdefault(p.flow, []).append(p)
    rows = [
        (
            flow,
            sum(p.inputs for p in parts),
            f"{sum(p.is_same for p in parts)} of {len(parts)}",
            sum(p.is_unknown for p in parts),
            parts[0].live_hash[:16],
        )
        for flow, parts in flows.items()
    ]
    columns = ("flow", "records folded", "partitions the same", "unknown", "hash of the first")
    console = out()
    console.print(table("Tables against the log", columns, rows, right=("records folded", "unknown")))
    for p in partitions:
        if p.problem:
            console.print(f"{p.flow} {p.partition.topic}/{p.partition.partition} is {p.verdict}: {p.problem}", markup=False)
