"""A broker, the ERP's database and the feed between them, as servers of their own beside the demonstration."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from infra.demo.sandbox import ROOT

INFRA = ROOT / "infra"
STARTED_S = 600.0  # the first time, jars are fetched
STOPPED_S = 60.0
PARTS = {"debezium": "Kafka Connect with Debezium", "erp": "PostgreSQL", "kafka": "Kafka"}
"""In the order in which they are stopped."""
JARS = ("kafka", "debezium")


class NoServers(RuntimeError):
    """The servers are not there, or did not come up. The sentences say what to do."""


class Servers:
    """What runs: `broker`, the bootstrap address, and `erp`, the database's URL. The feed waits until its topics are there.

    `rows`: how many the database was filled with.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rows = 0
        self.broker = self._started("kafka")
        self.erp = self._started("erp")

    def fill(self, extract: Path) -> None:
        """Put the rows of an extract into the ERP's empty tables."""
        said = _printed([sys.executable, "-m", "infra.erp.seed", self.erp, str(extract)])
        self.rows = int(said.split()[0])

    def feed(self) -> None:
        """Have Debezium read the ERP's database, what is there and what comes."""
        self._started("debezium", self.broker, self.erp)

    def _started(self, part: str, *arguments: str) -> str:
        return _printed([str(INFRA / part / "start.sh"), str(self.directory / part), *arguments])


@contextmanager
def running() -> Iterator[Servers]:
    """Broker and database, on loopback, with nothing in them. They end with this process, however that ends.

    Raises `NoServers`.
    """
    missing = missing_tools()
    if missing:
        raise NoServers("\n".join(missing))
    directory = Path(tempfile.mkdtemp(prefix="crossdock-demo-"))
    directory.chmod(0o711)  # PostgreSQL may have to run as a user of its own
    with _undertaker(directory):
        yield Servers(directory)


def missing_tools() -> list[str]:
    """What there has to be and is not, each with what to do."""
    if not all((INFRA / part / "start.sh").is_file() for part in PARTS):
        return [f"The servers' scripts are not in {INFRA}: run the demo from a clone of crossdock."]
    found = []
    if shutil.which("java") is None:
        found.append(
            "Java is missing, for Kafka and Debezium. Install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)."
        )
    if shutil.which("mvn") is None and not all(any((ROOT / ".tools" / part).glob("[0-9]*")) for part in JARS):
        found.append(
            "Maven is missing, which fetches Kafka and Debezium the first time. Install it (Debian: apt-get install maven)."
        )
    if shutil.which("initdb") is None and not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        found.append("PostgreSQL is missing, for the ERP's database. Install it (Debian: apt-get install postgresql).")
    return found


@contextmanager
def _undertaker(directory: Path) -> Iterator[None]:
    """A process that stops the servers and removes their directory when we end, by whatever: its input ends with us."""
    stops = [f"{quote(str(INFRA / part / 'stop.sh'))} {quote(str(directory / part))}" for part in PARTS]
    script = "; ".join(["cat >/dev/null", *stops, f"rm -rf {quote(str(directory))}"])
    quiet = subprocess.DEVNULL
    waiting = subprocess.Popen(  # noqa: S603 - our own scripts
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        assert waiting.stdin is not None
        waiting.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # it will get there
            waiting.wait(STOPPED_S)


def _printed(command: list[str]) -> str:
    """What a command printed. It does not hear a Ctrl-C that is meant for us. Raises `NoServers` with what it says is wrong."""
    try:
        ran = subprocess.run(  # noqa: S603 - our own scripts
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=STARTED_S, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        raise NoServers(f"{' '.join(command)} did not end within {STARTED_S:.0f} s: try it alone.") from None
    if ran.returncode != 0:
        raise NoServers(ran.stderr.strip())
    return ran.stdout.strip()
