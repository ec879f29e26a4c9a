"""The log of the settings, opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaException

from schemas import topics
from schemas.topics import Topic
from streams.engine.embedded.log import CannotOpen, EmbeddedLog
from streams.engine.embedded.opening import ANCHOR_FILE
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import ReadableLog, TopicPartition, Unavailable
from streams.monitoring.trusted_clock import TrustedClock, anchor_in
from streams.settings.settings import BadSettings, Settings

LOOKED_AT = 200
"""So many records at the end of each inbox are looked at for the last tick."""


def all_topics(settings: Settings) -> list[Topic]:
    """Every topic, those of the channels included."""
    return [*topics.DEFINED, *(topics.raw_channel(name) for name in settings.channels)]


@contextlib.contextmanager
def opened_log(
    settings: Settings, *, may_create: bool, directory: Path | None = None, accept_loss: bool = False
) -> Iterator[ReadableLog]:
    """The log of the settings. Raises `BadSettings` if there is none and none may be made, or it cannot be opened.

    `directory`: this process's own, on Kafka, if it is not the settings'. `accept_loss`: see `EmbeddedLog`.
    """
    if may_create or settings.is_kafka:
        with contextlib.suppress(OSError):  # whoever opens it says what is wrong
            (directory or settings.directory).mkdir(mode=0o700, parents=True, exist_ok=True)  # for whoever runs this alone
    log: ReadableLog = (
        _kafka(settings, directory or settings.data, may_create)
        if settings.is_kafka
        else _embedded(settings, may_create, accept_loss)
    )
    try:
        try:
            log.create(all_topics(settings))
            _set(log, settings, directory)
        except (ValueError, Unavailable) as error:
            raise BadSettings(f"{error}.") from None
        yield log
    finally:
        log.close()


def _embedded(settings: Settings, may_create: bool, accept_loss: bool) -> EmbeddedLog:
    directory = settings.directory
    if not may_create and not is_there(directory):
        raise BadSettings(f"There is no log in {directory}. Make one with crossdock demo, run or ingest, or name it with --data.")
    try:
        return EmbeddedLog(directory, clock_ms=_clock(settings, directory), accept_loss=accept_loss)
    except (CannotOpen, OSError) as error:
        raise BadSettings(str(error)) from None


def is_there(directory: Path) -> bool:
    """Whether a directory has an embedded log, or had one: then its anchor is there, and opening says what is missing."""
    return (directory / "log").is_dir() or (directory / ANCHOR_FILE).is_file()


def _kafka(settings: Settings, directory: Path, may_create: bool) -> KafkaLog:
    try:
        log = KafkaLog(replace(kafka_settings(settings), clock_ms=_clock(settings, directory)), directory)
    except KafkaException as error:
        raise BadSettings(f"kafka.clients: {error.args[0].str()}.") from None
    except (CannotOpen, OSError) as error:
        raise BadSettings(str(error)) from None
    try:
        if not may_create:
            log.partitions(topics.PROMISE_INBOX.name)
    except KeyError:
        log.close()
        raise BadSettings(f"There is nothing of crossdock's on {settings.log} yet: crossdock run makes it.") from None
    except Unavailable as error:
        log.close()
        raise BadSettings(f"{error}: is the broker running, and log right?") from None
    return log


def _clock(settings: Settings, directory: Path) -> TrustedClock:
    clock = TrustedClock(settings.clock.to_policy())
    clock.begin(anchor_in(directory), None)
    return clock


def _set(log: ReadableLog, settings: Settings, directory: Path | None) -> None:
    """Have the log's clock go on where the last process left it, or where the log ends. Raises `Unavailable`."""
    if isinstance(log, EmbeddedLog | KafkaLog) and isinstance(log.clock, TrustedClock):
        log.clock.begin(anchor_in(directory or settings.directory), newest_ms(log))


def newest_ms(log: ReadableLog) -> int | None:
    """The newest instant that the log knows of: of its last ticks; of what else was last said to its folds, if there is none."""
    ticks: list[int] = []
    others: list[int] = []
    for topic in topics.DEFINED:
        for partition in range(topic.partitions) if topic.is_inbox else ():
            at = TopicPartition(topic.name, partition)
            with contextlib.suppress(
                Exception
            ):  # a damaged partition is told of by whoever needs it: the others know the time too
                low, end = log.bounds(at)
                for record in log.read(at, max(low, end - LOOKED_AT), LOOKED_AT) if end > low else ():
                    (ticks if record.key == topics.CLOCK.encode() else others).append(record.timestamp_ms)
    return max(ticks or others, default=None)


def kafka_settings(settings: Settings) -> KafkaSettings:
    """What the engine needs to know of the brokers."""
    kafka = settings.kafka
    return KafkaSettings(
        settings.brokers,
        {name: secret.get_secret_value() for name, secret in kafka.clients.items()},
        session_ms=kafka.session_ms,
        heartbeat_ms=min(1_000, kafka.session_ms // 3),
        rebalance_ms=kafka.rebalance_ms,
        transaction_ms=kafka.transaction_ms,
        replication=kafka.replication or -1,
        is_static=kafka.static,
    )
