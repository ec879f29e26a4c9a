"""The engines' processes, and what they are run with: a virtual environment and Java archives under `.tools`, made once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

from infra.bench.peers.cluster import ROOT, CannotMeasure, cpu_s
from infra.bench.peers.jobs import STARTED_S, Engine, EngineJob

PEERS = ROOT / "infra" / "bench" / "peers"
TOOLS = ROOT / ".tools" / "peers"


def prepare(engines: Iterable[Engine]) -> None:
    """Fetch and build what the engines need. Raises `CannotMeasure`."""
    kinds = {engine.kind for engine in engines}
    if kinds & {"quix", "faust", "kafka-streams"} and not PEERS.is_dir():
        raise CannotMeasure(f"The peers' programs are not in {PEERS}: run this from a clone of the project.")
    if kinds & {"quix", "faust"}:
        _python_of_peers()
    if "kafka-streams" in kinds:
        _archives()


def _python_of_peers() -> Path:
    wanted = PEERS / "requirements.txt"
    venv = TOOLS / f"venv-{_sum(wanted)}"
    if not (venv / "ready").exists():
        _run([sys.executable, "-m", "venv", "--clear", venv], "making the peers' virtual environment")
        _run([venv / "bin" / "python", "-m", "pip", "install", "-q", "-r", wanted], "installing the Python peers")
        (venv / "ready").touch()
    return venv / "bin" / "python"


def _archives() -> Path:
    source = PEERS / "kafka_streams"
    files = sorted([source / "pom.xml", *source.glob("src/*.java")])
    archives = TOOLS / f"kafka-streams-{_sum(*files)}"
    if not archives.is_dir():
        if shutil.which("mvn") is None:
            raise CannotMeasure(
                "mvn was not found: install Maven and Java 17 (Debian: apt-get install maven), or leave out kafka-streams."
            )
        building = TOOLS / f"building-{os.getpid()}"
        shutil.copytree(source, building)
        goals = ["package", "dependency:copy-dependencies", "-DoutputDirectory=target/archives"]
        _run(["mvn", "-q", "-B", "-ntp", "-f", building / "pom.xml", *goals], "building the Kafka Streams peer")
        shutil.move(building / "target" / "kafka-streams-peer-1.jar", building / "target" / "archives")
        shutil.move(building / "target" / "archives", archives)
        shutil.rmtree(building)
    return archives


def _run(command: list[str | Path], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)  # noqa: S603 - our own commands
    if done.returncode != 0:
        raise CannotMeasure(f"{what} failed: {(done.stdout + done.stderr).strip()[-1500:]}")


def _sum(*files: Path) -> str:
    return f"{zlib.crc32(b''.join(file.read_bytes() for file in files)):08x}"


def command_of(engine: Engine, path: Path) -> list[str]:
    """How an engine is started on a job."""
    if engine.kind == "kafka-streams":
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", "-Xmx2g", quiet, "-cp", f"{_archives()}/*", "Peer", str(path)]
    if engine.kind in ("quix", "faust"):
        return [str(_python_of_peers()), str(PEERS / f"{engine.kind}_peer.py"), str(path)]
    module = "crossdock_peer" if engine.kind == "crossdock" else "ceiling"
    return [sys.executable, "-m", f"infra.bench.peers.{module}", str(path)]


def _ends_with_us() -> list[str]:
    """Where the system can: a process goes when the benchmark is gone, however that ended."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Children:
    """The processes of an engine, each with a job, a directory and a log of its own."""

    def __init__(self, engine: Engine, job: EngineJob, directory: Path) -> None:
        self._engine = engine
        self._job = job
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Children:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def logs(self) -> list[Path]:
        """What each says."""
        return [self._directory / f"{n}.log" for n in range(self._engine.processes)]

    def start(self) -> None:
        """Start them."""
        env = {name: value for name, value in os.environ.items() if name != "_JAVA_OPTIONS"}
        for n, log in enumerate(self.logs):
            state = self._directory / f"state-{n}"
            state.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"job-{n}.json"
            one = EngineJob(**{name: getattr(self._job, name) for name in EngineJob.__slots__} | {"directory": str(state)})
            one.write(path)
            with log.open("ab") as to:
                command = [*_ends_with_us(), *command_of(self._engine, path)]
                self._processes.append(subprocess.Popen(command, stdout=to, stderr=to, cwd=ROOT, env=env))  # noqa: S603 - our own

    def check(self) -> None:
        """Raises `CannotMeasure` if one has ended."""
        for process, log in zip(self._processes, self.logs, strict=True):
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip()[-1500:]
                raise CannotMeasure(f"{self._engine.name} ended with {process.returncode} in the middle of a run: {said}")

    def cpu_s(self) -> float:
        """Processor seconds so far."""
        return cpu_s(process.pid for process in self._processes)

    def stop(self) -> None:
        """Ask them to end, and end those that do not."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STARTED_S / 4)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def forget(self) -> None:
        """Remove the state they keep on disk (only while stopped)."""
        for n in range(self._engine.processes):
            shutil.rmtree(self._directory / f"state-{n}", ignore_errors=True)
