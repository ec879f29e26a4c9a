"""The producer of appends: whatever its client does, a call ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streams.engine.kafka.clients import KafkaSettings
from streams.engine.kafka.log import Appender
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Outgoing, Unavailable

RECORD = Outgoing("t", 0, b"k", b"v")


class Delivered:
    """A message as the broker acknowledged it."""

    def __init__(self, offset: int | None) -> None:
        self.offset = lambda: offset


class Client:
    """Stands in for a producer: acknowledges each record at its offset in the poll after its first ones, which fail."""

    def __init__(self, offset: int | None, failures: list[Exception]) -> None:
        self._offset = offset
        self._failures = failures
        self._waiting: list[Callable[[None, Delivered], None]] = []

    def produce(self, *record: Any, on_delivery: Callable[[None, Delivered], None], timestamp: int) -> None:
        self._waiting.append(on_delivery)

    def poll(self, timeout_s: float) -> int:
        time.sleep(0.001)
        if self._failures:
            raise self._failures.pop()
        while self._waiting:
            self._waiting.pop(0)(None, Delivered(self._offset))
        return 0

    def flush(self, timeout_s: float) -> int:
        return 0

    def close(self) -> None:
        pass


class Settings:
    """Settings that make such a client."""

    request_s = 1.0
    clock_ms = staticmethod(lambda: 5)

    def __init__(self, client: Client) -> None:
        self.producer = lambda **options: client


@pytest.fixture
def appender(request: pytest.FixtureRequest) -> Iterator[Appender]:
    made = Appender(Settings(Client(*request.param)), ThreadKeeper())  # type: ignore[arg-type]
    yield made
    made.close()


@pytest.mark.parametrize("appender", [(7, [SystemError("in the client"), RuntimeError("again")])], indirect=True)
def test_a_poll_that_fails_ends_no_thread(appender: Appender) -> None:
    assert appender.append([RECORD]) == [7]


@pytest.mark.parametrize("appender", [(None, [])], indirect=True)
def test_a_repeat_that_was_written_before_is_sent_again_by_its_caller(appender: Appender) -> None:
    """The broker does not say where such a record is."""
    with pytest.raises(Unavailable, match="records were not written"):
        appender.append([RECORD])


def test_no_batch_overtakes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that failed would be taken as written once a later one is: librdkafka cannot tell, where a producer is new."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("streams.engine.kafka.clients.Producer", told.append)
    settings = KafkaSettings("127.0.0.1:1")
    settings.producer()
    settings.producer(transactional_id="t")
    assert [config["max.in.flight.requests.per.connection"] for config in told] == [1, 1]
    assert all(config["enable.idempotence"] for config in told)
