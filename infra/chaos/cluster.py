"""Brokers of our own, started by `infra/kafka`: stopped, killed, frozen and started again one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

SCRIPTS = Path(__file__).parents[2] / "infra" / "kafka"
START_S = 600  # the first time, the jars are fetched
WHOLE_S = 90.0


class NoCluster(Exception):
    """Brokers could not be started, or did not come back: the sentence says why."""


class ChaosCluster:
    """Brokers numbered from 1 in a directory. `proxied`: by broker, the port it is advertised at and the one it listens on."""

    def __init__(self, directory: Path, brokers: int) -> None:
        if not SCRIPTS.is_dir():
            raise NoCluster("crossdock chaos starts brokers with infra/kafka/start.sh: run it from the project's own folder.")
        self.directory = directory
        self.brokers = brokers
        self.bootstrap = _run("start.sh", "--brokers", str(brokers), "--proxied", str(directory))
        lines = (directory / "proxied").read_text().splitlines()
        self.proxied = [(int(a.partition("=")[2]), int(b.partition("=")[2])) for a, b in (line.split() for line in lines)]
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500})
        self._frozen: set[int] = set()

    def stop(self, number: int) -> None:
        """It workers its partitions over and ends."""
        _run("broker.sh", "stop", *self._which(number))

    def kill(self, number: int) -> None:
        """It ends as in a crash."""
        _run("broker.sh", "kill", *self._which(number))

    def start(self, number: int) -> None:
        """It runs and answers again."""
        _run("broker.sh", "start", *self._which(number))

    def freeze(self, number: int) -> None:
        """It stands still, with all its connections open."""
        self._frozen.add(number)
        os.kill(self._pid(number), signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """It goes on, not knowing what happened meanwhile."""
        os.kill(self._pid(number), signal.SIGCONT)
        self._frozen.discard(number)

    def await_preferred(self) -> None:
        """Wait until every partition is led by its preferred leader again: the brokers see to it. Raises `NoCluster`."""
        deadline = time.monotonic() + WHOLE_S
        while not self._is_preferred():
            if time.monotonic() > deadline:
                raise NoCluster(f"not every partition has its preferred leader again within {WHOLE_S:.0f} s")
            time.sleep(0.2)

    def await_whole(self) -> None:
        """Wait until every partition has all its copies in step. Raises `NoCluster` if that does not come."""
        deadline = time.monotonic() + WHOLE_S
        while (why := self._lacking()) is not None:
            if time.monotonic() > deadline:
                raise NoCluster(f"the cluster has not become whole within {WHOLE_S:.0f} s: {why}")
            time.sleep(0.2)

    def close(self) -> None:
        """End all brokers."""
        for number in set(self._frozen):
            with suppress(OSError):
                self.thaw(number)
        with suppress(NoCluster):
            _run("stop.sh", str(self.directory))

    def _lacking(self) -> str | None:
        try:
            found = self._admin.list_topics(timeout=5)
        except KafkaException as error:
            return str(error)
        if len(found.brokers) < self.brokers:
            return f"{len(found.brokers)} of {self.brokers} brokers are there"
        for topic in found.topics.values():
            for partition in topic.partitions.values():
                if partition.leader < 0 or len(partition.isrs) < len(partition.replicas):
                    return f"{topic.topic}/{partition.id} has {len(partition.isrs)} of {len(partition.replicas)} copies in step"
        return None

    def _is_preferred(self) -> bool:
        with suppress(KafkaException):
            found = self._admin.list_topics(timeout=5).topics.values()
            return all(p.leader == p.replicas[0] for topic in found for p in topic.partitions.values())
        return False

    def _pid(self, number: int) -> int:
        node = self.directory / str(number) if self.brokers > 1 else self.directory
        return int((node / "pid").read_text())

    def _which(self, number: int) -> Sequence[str]:
        return [str(self.directory), *([str(number)] if self.brokers > 1 else [])]


def _run(script: str, *arguments: str) -> str:
    command = [str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)  # noqa: S603 - our scripts
    if done.returncode != 0:
        raise NoCluster(done.stderr.strip())
    return done.stdout.strip()
