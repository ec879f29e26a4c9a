"""`crossdock --help`: where a newcomer begins."""

from __future__ import annotations

from typer.testing import CliRunner

from streams.cli import app


def panels() -> dict[str, list[str]]:
    """The commands of each panel, in the order shown."""
    blocks = [block.splitlines() for block in shown().split("╭─ ")[1:]]
    return {
        lines[0].split(" ─")[0]: [line.split()[1] for line in lines[1:] if line.startswith("│ ") and line[2] != " "]
        for lines in blocks
    }


def shown() -> str:
    return CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "TERM": "dumb"}).stdout


def test_help_begins_with_the_demonstration_and_ends_with_what_proves_and_measures() -> None:
    options, first, *_, last = panels().items()
    assert options[0] == "Options"
    assert first == ("Start here", ["demo"])
    assert last == ("Test and measure", ["simulate", "chaos", "bench"])


def test_every_command_is_in_a_panel_that_says_what_it_is_for() -> None:
    assert "Commands" not in panels()
    assert len([name for commands in panels().values() for name in commands]) > 15


def test_the_examples_are_of_commands_that_exist() -> None:
    examples = [line.split()[1] for line in shown().splitlines() if line.startswith(" crossdock ")]
    known = {name for commands in panels().values() for name in commands}
    assert len(examples) >= 5
    assert set(examples) <= known
