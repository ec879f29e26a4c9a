"""Each command by typer's runner, on a directory of its own: what it prints, how it exits, what a mistake is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.chaos.run import ChaosReport
from infra.simulation.run import SimulationReport
from streams.cli import app
from streams.cli.output import CommandFailed, UserError
from streams.engine.log import TopicPartition
from streams.engine.verdict import Verdict
from streams.engine.verify import PartitionReport
from streams.runtime.kafka_acls import PARTIES
from streams.settings.settings import BadSettings
from tests.support.app import ITEM, count, master

RUNNER = CliRunner()


def invoke(*arguments: str) -> Result:
    """A command's result; what `main` turns into a sentence is in `exception`."""
    return RUNNER.invoke(app, list(arguments))


def answered(*arguments: str) -> Any:
    """The JSON a command prints."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    return json.loads(result.stdout)


def mistaken(*arguments: str) -> str:
    """The sentence a user's mistake is told."""
    result = invoke(*arguments)
    assert isinstance(result.exception, UserError | BadSettings), result.output
    return str(result.exception)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without settings or data."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with an item, its stock, an order and a dead letter, made by `ingest`."""
    directory = tmp_path_factory.mktemp("stocked")
    order = {
        "channel": "web",
        "external_ref": "W1",
        "customer": "C",
        "placed_at": "2026-01-02T09:00:00Z",
        "lines": [{"line": 1, "item": ITEM, "qty": "3"}],
    }
    inputs = {"erp": master(), "wms": [count("100", 1), b'{"type": "nonsense"}'], "channel": [json.dumps(order).encode()]}
    data = str(directory / "data")
    for source, messages in inputs.items():
        file = directory / f"{source}.ndjson"
        file.write_bytes(b"\n".join(messages))
        found = answered("ingest", str(file), "--source", source, "--data", data)
        assert found["records"] == len(messages)
    return data


def test_atp_says_the_number_and_its_parts(stocked: str) -> None:
    assert answered("atp", ITEM, "--data", stocked)["promise"] == 97
    text = invoke("atp", ITEM, "--data", stocked).stdout
    assert "97 EA can be promised today" in text
    assert "DC1" in text
    assert answered("atp", ITEM, "--days", "3", "--policy", "projected", "--data", stocked)["policy"] == "projected"


def test_an_order_shows_its_lines_and_milestones(stocked: str) -> None:
    assert answered("order", "web:W1", "--data", stocked)["status"] == "allocated"
    text = invoke("order", "web:W1", "--data", stocked).stdout
    assert "allocated" in text
    assert "order_accepted" in text


def test_audit_proves_that_nothing_was_oversold(stocked: str) -> None:
    shown = answered("audit", ITEM, "--data", stocked)
    assert shown["is_proved"] is True and shown["events"] > 0 and shown["oversales"] == []
    assert "never more promised" in invoke("audit", ITEM, "--data", stocked).stdout


def test_explain_adds_up(stocked: str) -> None:
    assert answered("explain", ITEM, "--data", stocked)["adds_up"] is True
    text = invoke("explain", ITEM, "--data", stocked).stdout
    assert "The ledger adds up to the numbers." in text
    assert "DC1 on_hand.usable" in text


def test_table_shows_rows_by_key(stocked: str) -> None:
    found = answered("table", "items", "--data", stocked)
    assert [row["key"] for row in found["rows"]] == [ITEM]
    assert answered("table", "promise.stock", f"{ITEM}|DC1", "--data", stocked)["rows"][0]["row"]["usable"] == 100
    assert ITEM in invoke("table", "items", "--data", stocked).stdout
    assert "promise.items" in mistaken("table", "nonsense", "--data", stocked)


def test_exceptions_are_listed_and_replayed(stocked: str) -> None:
    codes = {row["code"] for row in answered("exceptions", "--data", stocked)["exceptions"]}
    assert "dead_letter" in codes
    assert "dead_letter" in invoke("exceptions", "--data", stocked).stdout
    assert "no exception" in mistaken("replay", "raw.wms/0/99", "--data", stocked)
    assert "--all" in mistaken("replay", "--data", stocked)
    assert answered("replay", "raw.wms/0/1", "--data", stocked) == {"replayed": ["raw.wms/0/1"]}


def test_verify_folds_again(stocked: str) -> None:
    assert answered("verify", "--data", stocked)["is_same"] is True
    assert "partitions the same" in invoke("verify", "--data", stocked).stdout


@pytest.mark.parametrize(
    ("verdict", "says"), [("unknown", "Nothing is known of 1 of 2"), ("different", "1 of 2 partitions are not")]
)
def test_verify_is_zero_only_if_everything_was_compared(
    stocked: str, monkeypatch: pytest.MonkeyPatch, verdict: str, says: str
) -> None:
    """A partition that could not be compared is not the same."""
    reports = [
        PartitionReport("promise", TopicPartition("promise.inbox.v1", 0), Verdict.SAME),
        PartitionReport("promise", TopicPartition("promise.inbox.v1", 1), Verdict(verdict), problem="the reason"),
    ]
    monkeypatch.setattr("streams.cli.proofs._verified", lambda settings: reports)
    result = invoke("verify", "--json", "--data", stocked)
    assert says in str(result.exception)
    assert isinstance(result.exception, CommandFailed)
    found = json.loads(result.stdout)
    assert (found["verdict"], found["is_same"], found["counts"]["same"], found["counts"][verdict]) == (verdict, False, 1, 1)
    assert [row["is_unknown"] for row in found["partitions"]] == [False, verdict == "unknown"]
    assert f"promise promise.inbox.v1/1 is {verdict}: the reason" in invoke("verify", "--data", stocked).stdout


def test_verify_of_nothing_proves_nothing(stocked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cli.proofs._verified", lambda settings: [])
    assert "nothing to compare" in str(invoke("verify", "--data", stocked).exception)


def test_doctor_looks_at_everything(stocked: str) -> None:
    found = answered("doctor", "--data", stocked)
    assert found["ok"] is True
    assert {c["check"] for c in found["checks"]} == {
        "packages",
        "clock",
        "settings",
        "disk",
        "directory",
        "policy",
        "workers",
        "partitions",
        "sources",
        "fields nobody reads",
        "names in settings",
        "waiting",
        "backlog",
        "endpoints",
        "exceptions",
    }


def test_doctor_names_fields_nobody_reads(tmp_path: Path) -> None:
    """One that is nearly a field there is may say something that is not known: it is a warning."""
    data, file = str(tmp_path / "data"), tmp_path / "wms.ndjson"

    def told(*messages: dict[str, Any]) -> Any:
        file.write_text("\n".join(json.dumps(json.loads(count("100", 1)) | more) for more in messages))
        answered("ingest", str(file), "--source", "wms", "--data", data)
        return next(c for c in answered("doctor", "--data", data)["checks"] if c["check"] == "fields nobody reads")

    assert told({}) == {"check": "fields nobody reads", "result": "ok", "says": "none came"}
    strange = told({"event_id": "W-2", "sequence": 2, "colour": "red"})
    assert strange["result"] == "ok"
    assert "wms: colour of stock.snapshot, 1 times, last at 2" in strange["says"]
    assert "(raw.wms/" in strange["says"] and strange["says"].endswith("tell the sender, or have it mapped if it matters")
    misspelt = told({"event_id": "W-3", "sequence": 3, "lots": "L1"}, {"event_id": "W-4", "sequence": 4, "lots": "L1"})
    assert misspelt["result"] == "warning"
    assert "wms: lots of stock.snapshot, 2 times" in misspelt["says"]
    assert "Did you mean lot?" in misspelt["says"] and "and 1 more: GET /v1/sources/unknown-fields" in misspelt["says"]


def test_doctor_names_sites_in_settings_that_the_erp_does_not_have(stocked: str) -> None:
    def told() -> Any:
        return next(c for c in answered("doctor", "--data", stocked)["checks"] if c["check"] == "names in settings")

    assert told() == {"check": "names in settings", "result": "ok", "says": "none that the ERP does not have"}
    Path("crossdock.toml").write_text("[site.DC-1]\npast_due = 2\n")
    found = told()
    assert found["result"] == "warning"
    assert found["says"].startswith("site.DC-1: the ERP has no site 'DC-1'")
    assert found["says"].endswith("Did you mean DC1?")


def test_doctor_knows_the_roles() -> None:
    assert "'folds' is not a role" in str(invoke("doctor", "--roles", "folds").exception)
    assert "--roles is for a log on Kafka" in invoke("doctor", "--json", "--roles", "fold").stdout


def test_doctor_says_what_is_wrong_with_the_settings() -> None:
    Path("crossdock.toml").write_text("horizon_days = 1000")
    result = invoke("doctor", "--json")
    assert isinstance(result.exception, CommandFailed)
    assert "horizon_days" in result.stdout


def test_topics_lists_every_topic() -> None:
    names = {row["name"] for row in answered("topics")["topics"]}
    assert {"atp.v1", "promise.inbox.v1", "raw.channel.web", "dead-letter.v1"} <= names
    assert "atp.v1" in invoke("topics").stdout


def test_topics_lists_what_each_role_has_to_be_allowed() -> None:
    """A user a role, or one for several; as data, as a table, as calls of Kafka's own tool."""
    rows = answered("topics", "--acls", "--principal-prefix", "User:x-")["acls"]
    assert {row["principal"] for row in rows} == {f"User:x-{party}" for party in PARTIES}
    assert [row for row in rows if row["principal"] == "User:x-fold" and row["name"] == "atp.v1"] == [
        {
            "principal": "User:x-fold",
            "roles": ["fold"],
            "resource": "topic",
            "name": "atp.v1",
            "pattern": "literal",
            "operations": ["Write", "Describe", "DescribeConfigs"],
        }
    ]
    one = answered("topics", "--acls", "--roles", "fold,act", "--principal", "User:one")["acls"]
    assert {row["principal"] for row in one} == {"User:one"}
    assert {"crossdock.fold", "crossdock.act"} <= {row["name"] for row in one if "Read" in row["operations"]}
    assert "crossdock.fold.*" in invoke("topics", "--acls").stdout
    script = invoke("topics", "--acls", "--commands", "--roles", "fold").stdout
    assert "--resource-pattern-type prefixed --transactional-id crossdock.fold." in script


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--commands"], "go with --acls"),
        (["--acls", "--create"], "one of them at a time"),
        (["--acls", "--roles", "cook"], "'cook' is not a role"),
        (["--acls", "--principal", "User:x"], "needs --roles"),
        (["--acls", "--principal-prefix", "x-"], "'x-' is not a principal"),
        (["--create"], "the embedded log makes its topics by itself"),
    ],
)
def test_topics_says_which_options_go_together(options: list[str], sentence: str) -> None:
    assert sentence in mistaken("topics", *options)


def test_reconcile_names_differences(stocked: str, tmp_path: Path) -> None:
    extract = tmp_path / "extract"
    extract.mkdir()
    (extract / "site.json").write_text('[{"site_code": "DC1", "name": "Other", "timezone": "America/New_York"}]')
    result = invoke("reconcile", str(extract), "--only", "site", "--json", "--data", stocked)
    assert isinstance(result.exception, CommandFailed)
    found = json.loads(result.stdout)
    assert found["difference_count"] == 1
    assert found["differences"][0]["ours"] == "One"
    assert "There is no directory" in mistaken("reconcile", "nowhere", "--data", stocked)
    assert "no table 'sites' of the ERP" in mistaken("reconcile", str(extract), "--only", "sites", "--data", stocked)


def test_reconcile_is_zero_only_if_everything_was_compared(stocked: str, tmp_path: Path) -> None:
    """An extract of one table says nothing about the others."""
    extract = tmp_path / "extract"
    extract.mkdir()
    (extract / "site.json").write_text('[{"site_code": "DC1", "name": "One", "timezone": "America/New_York"}]')
    result = invoke("reconcile", str(extract), "--data", stocked)
    assert isinstance(result.exception, CommandFailed)
    assert "could not be compared" in str(result.exception)
    assert "Not compared: table item: the extract has no item.json" in result.stdout
    assert answered("reconcile", str(extract), "--only", "site", "--data", stocked)["is_equal"] is True


def test_chaos_does_not_call_a_fault_survived_that_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for by name, and this machine cannot have it."""
    report = ChaosReport(1, 1, left_out={"disk-full": "there is no small disk"})
    monkeypatch.setattr("infra.chaos.run.chaos", lambda seed, **more: report)
    result = invoke("chaos", "--faults", "disk-full")
    assert isinstance(result.exception, CommandFailed)
    assert "disk-full" in str(result.exception)


def test_simulate_runs_seeds_and_fails_with_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretended(seeds: Iterable[int], jobs: int, progress: Callable[[SimulationReport], None]) -> list[SimulationReport]:
        reports = [SimulationReport(seed, messages=10, wrong=("oversold",) if seed == 7 else ()) for seed in seeds]
        for report in reports:
            progress(report)
        return [report for report in reports if not report.is_ok]

    monkeypatch.setattr("infra.simulation.run.simulate_many", pretended)
    assert answered("simulate", "--seeds", "5") == {"seeds": 5, "messages": 50, "failed": []}
    result = invoke("simulate", "--seed", "7")
    assert isinstance(result.exception, CommandFailed)
    assert "oversold" in result.stdout
    assert "crossdock simulate --seed 7" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("atp", "X", "--data", "nowhere"), "There is no log in nowhere"),
        (("ingest", "missing.json", "--source", "wms"), "There is no file"),
        (("verify",), "There is no log"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    assert says in mistaken(*arguments)
    assert not Path("nowhere").exists()


def test_unknown_things_are_mistakes(stocked: str, tmp_path: Path) -> None:
    assert "not known" in mistaken("atp", "nonsense", "--data", stocked)
    assert "not known" in mistaken("order", "web:nonsense", "--data", stocked)
    file = tmp_path / "x.json"
    file.write_text("{}")
    assert "the sources are" in mistaken("ingest", str(file), "--source", "tms", "--data", stocked)
    assert "Did you mean 'web'" in mistaken("ingest", str(file), "--source", "wbe", "--data", stocked)
    assert "lookahead" in mistaken("atp", ITEM, "--policy", "hope", "--data", stocked)


@pytest.mark.parametrize("command", [("atp", ITEM, "--channel", "wbe"), ("order", "wbe:W1")])
def test_a_mistyped_channel_is_a_mistake(stocked: str, command: tuple[str, ...]) -> None:
    assert "Did you mean 'web'?" in mistaken(*command, "--data", stocked)


@pytest.mark.parametrize("command", ["atp", "audit"])
def test_a_mistyped_site_is_a_mistake(stocked: str, command: str) -> None:
    """An audit of it would prove that nothing was ever oversold there."""
    assert "Did you mean 'DC1'?" in mistaken(command, ITEM, "--site", "DC-1", "--data", stocked)


def test_the_demo_refuses_a_directory_in_use(stocked: str) -> None:
    assert "not empty" in mistaken("demo", "--once", "--data", stocked, "--api", "127.0.0.1:0")


def test_the_api_listens_on_loopback_only() -> None:
    assert "loopback" in mistaken("run", "--api", "0.0.0.0:8080")


def test_the_demo_replaces_an_earlier_demo_and_nothing_else(tmp_path: Path) -> None:
    """A second demonstration starts on an empty log again; a directory that is not a demonstration's is left alone."""
    from infra.demo.cli import _empty
    from streams.cli.output import UserError

    _empty(tmp_path / "demo")
    (tmp_path / "demo" / "log").mkdir()
    _empty(tmp_path / "demo")
    assert not (tmp_path / "demo" / "log").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        _empty(tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


def test_bench_fold_prints_its_figures() -> None:
    """As a table and as JSON, with the exactness of the result."""
    found = answered("bench", "fold", "--events", "1000", "--keys", "20", "--rate", "200")
    assert found["is_exact"] is True and found["latency_ms"]["200"]["p50"] > 0
