"""The project as a whole: what lies where, and what must not be in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {
    *(".ci", ".editorconfig", ".gitattributes", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"),
    *("connectors", "infra", "schemas", "streams", "tables", "tests"),
}
# Written in pieces: this file is one of those it reads.
FORBIDDEN = (
    r"(?<![\w.:/}-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me|tm" + r"p|Use" + r"rs|opt/wh" + r"eels)(?:/|\b)",
    r"\.\./sha" + r"red",
    r"(?:^|[^\w.])(?:pypi|test\.pypi)\.o" + r"rg",
    r"python" + r"hosted",
    r"--(?:extra-)?ind" + r"ex-url",
    r"--find-li" + r"nks",
    r"regis" + r"try\.npm",
    r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2}\b",
)


def tracked() -> list[str]:
    """Paths git keeps. Without git there is nothing to check: the test is skipped."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]


def test_the_top_level_holds_what_the_design_names_and_nothing_else() -> None:
    assert {Path(path).parts[0] for path in tracked()} <= TOP_LEVEL


def test_no_file_names_a_machine_a_private_host_or_a_package_index() -> None:
    pattern = re.compile("|".join(FORBIDDEN), re.MULTILINE)
    found = []
    for path in tracked():
        data = (ROOT / path).read_bytes()
        if b"\0" in data or path.startswith("tests/data/"):
            continue
        found += [f"{path}: {hit.group().strip()}" for hit in pattern.finditer(data.decode())]
    assert found == []


def test_the_forbidden_patterns_find_what_they_are_for() -> None:
    pattern = re.compile("|".join(FORBIDDEN))
    for text in (
        "cd /wo" + "rk/x",
        '"/tm' + 'p"',
        "https://py" + "pi.org/simple",
        "--extra-ind" + "ex-url",
        "http://10.0" + ".0.7:80",
        "host 192.1" + "68.1.9",
    ):
        assert pattern.search(text), text
    for text in ("orders/work/items", "fastavro==1.10.2.1", "127.0.0.1:8080", "0.0.0.0", "version 10.2", "${TMPDIR}/x"):
        assert not pattern.search(text), text


RUN_LOCK, DEV_LOCK = "infra/requirements.lock", "infra/requirements-dev.lock"


def entries(lock: str) -> set[str]:
    """What a lock says of each package."""
    return set(re.split(r"\n(?=\w)", (ROOT / lock).read_text().split("\n", 2)[2].strip()))


def names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", each)[0].lower().replace("_", "-") for each in requirements}


@pytest.mark.parametrize("lock", [RUN_LOCK, DEV_LOCK])
def test_every_locked_package_has_its_version_and_hashes(lock: str) -> None:
    for entry in entries(lock):
        assert re.match(r"[a-z0-9-]+==[^ ]+( ; [^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


def test_the_locks_hold_every_dependency_the_project_declares_and_what_builds_it() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, extras = declared["project"], declared["project"]["optional-dependencies"]
    running = names([*project["dependencies"], *extras["sandbox"], *declared["build-system"]["requires"]])
    assert running <= names(entries(RUN_LOCK))
    assert running | names(extras["dev"]) <= names(entries(DEV_LOCK))


def test_what_runs_is_what_is_tested_without_the_tools_of_testing() -> None:
    assert entries(RUN_LOCK) < entries(DEV_LOCK)
    assert not {"pytest", "mypy", "ruff", "hypothesis", "playwright"} & names(entries(RUN_LOCK))


def test_the_license_is_the_whole_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.lstrip().startswith("Apache License")
    assert all(f"   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text


@pytest.mark.parametrize("script", ["infra/test.sh", "infra/lock.sh"])
def test_a_script_answers_an_unknown_option_with_its_usage(script: str) -> None:
    ran = subprocess.run([str(ROOT / script), "--bogus"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "usage: " + script in ran.stderr


@pytest.mark.parametrize("script", ["infra/test.sh", "infra/demo.sh"])
def test_a_script_explains_itself(script: str) -> None:
    ran = subprocess.run([str(ROOT / script), "--help"], capture_output=True, text=True, check=True)
    assert "usage: " + script in ran.stdout
