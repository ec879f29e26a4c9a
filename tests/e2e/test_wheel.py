"""crossdock as people get it: the built wheel in an environment of its own, with what it declares and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "tables", "streams", "connectors", "infra")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what is written here: no compiled module, nothing an earlier build left behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(built), str(source)], check=True)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's `bin`. It holds the wheel, and links to the packages that the wheel's own metadata ask for."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    packages = next(home.glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "--quiet", "--python", str(home / "bin" / "python"), "install", "--no-deps"]
    subprocess.run([*command, "--no-index", str(wheel)], check=True)
    for found in needed(next(packages.glob("crossdock-*.dist-info"))):
        for file in found.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    return home / "bin"


def needed(metadata: Path) -> Iterator[Distribution]:
    """What a distribution needs to run, and what that needs, from what is installed beside the tests."""
    seen: set[str] = set()
    waiting = [(Requirement(line), "") for line in Distribution.at(metadata).requires or ()]
    while waiting:
        requirement, extra = waiting.pop()
        asked = f"{requirement.name} {sorted(requirement.extras)}".lower()
        if asked in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add(asked)
        found = distribution(requirement.name)
        yield found
        for wanted in requirement.extras or {""}:
            waiting += [(Requirement(line), wanted) for line in found.requires or ()]


def run(installed: Path, directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / command[0]), *command[1:]],
        cwd=directory,
        env=environment(installed),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def environment(installed: Path) -> dict[str, str]:
    return {"PATH": f"{installed}{os.pathsep}{os.defpath}", "COLUMNS": "120", "TERM": "dumb"}


def test_the_wheel_holds_the_packages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert folders == set(PACKAGES)
    assert "connectors/api/console/templates/console.html" in names
    assert "connectors/erp/sample/records.jsonl.gz" in names
    assert "schemas/avro/index.json" in names


def test_the_environment_is_not_the_repositorys(installed: Path, tmp_path: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    found = run(installed, tmp_path, "python", "-c", "import streams, infra; print(streams.__file__, infra.__file__)")
    assert found.returncode == 0, found.stderr
    assert all(str(installed.parent) in path for path in found.stdout.split())
    for absent in ("tests", "pytest", "hypothesis", "psycopg"):
        assert run(installed, tmp_path, "python", "-c", f"import {absent}").returncode == 1, absent


def test_help_and_doctor_work(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, tmp_path, "crossdock", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "demo" in shown.stdout
    looked = run(installed, tmp_path, "crossdock", "doctor")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "all packages installed" in looked.stdout


def test_run_serves_the_page_and_ends_when_asked(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "crossdock"), "run", "--api", "127.0.0.1:0"]
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(installed), stdout=said, stderr=said)
    try:
        url = served(process, tmp_path)
        assert httpx.get(f"{url}/readyz").status_code == 200
        page = httpx.get(url, follow_redirects=True)
        assert page.status_code == 200
        assert "<title>" in page.text
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def served(process: subprocess.Popen[bytes], directory: Path) -> str:
    """The address at which a started crossdock is ready."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        said = (directory / "said.txt").read_text()
        assert process.poll() is None, said
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        if found and httpx.get(f"{found.group()}/readyz").status_code == 200:
            return found.group()
        time.sleep(0.1)
    raise AssertionError(f"not ready after a minute: {said}")


def test_the_demonstration_runs(installed: Path, tmp_path: Path) -> None:
    """The sandbox of foreign systems is a process of its own, and comes from the wheel too."""
    ran = run(installed, tmp_path, "crossdock", "demo", "--once", "--orders", "20", "--api", "127.0.0.1:0")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "holds: nothing is oversold" in ran.stdout
