"""README and `infra/docs`: the paths, commands and options they name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from streams.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "infra" / "docs").glob("*.md"))]
OURS = ("connectors/", "infra/", "schemas/", "streams/", "tables/", "tests/")


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `crossdock` command in the text's shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                if re.match(r"\s*(?:\.venv/bin/)?crossdock ", part):
                    yield shlex.split(part, comments=True)[1:]


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command: a name or an option that does not exist."""
    found: object = get_command(app)
    at = 0
    while hasattr(found, "commands") and at < len(words):
        known = found.commands
        if words[at] not in known:
            return f"there is no command {words[at]}"
        found, at = known[words[at]], at + 1
    options = {option for parameter in getattr(found, "params", ()) for option in parameter.opts} | {"--help"}
    return next((f"{words[0]} has no {word}" for word in words if word.startswith("-") and word not in options), None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    links = [*re.findall(r"\]\(([^)#:]+)\)", text), *re.findall(r'(?:src|srcset)="([^"]+)"', text)]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document: Path) -> None:
    """Of what is ours: examples of a reader's own files are theirs."""
    text = document.read_text()
    quoted = [word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()]
    named = [word for word in quoted if word.startswith(OURS) and not re.search(r"[<>*{]", word)]
    named += re.findall(r"^(infra/[\w/.]+)", text, re.MULTILINE)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_commands_and_their_options_exist() -> None:
    found = [words for document in DOCUMENTS for words in commands(document.read_text())]
    assert len(found) > 15
    assert [says for words in found if (says := complaint(words))] == []


@pytest.mark.parametrize("line", ["crossdock fly", "crossdock atp 1 --fast", "crossdock schemas pull"])
def test_what_does_not_exist_is_found(line: str) -> None:
    assert complaint(next(commands(f"```sh\n{line}\n```")))
