"""The `faust.App` that reads dispatches: Faust as it has to be set for agents that may not lose an obligation.

No worker of Faust's (it takes the process's signals and its standard output), no web server, no tables, no topics made: an app
that is started and stopped inside an event loop of ours. What was found out about Faust and its client is said where it is
dealt with, and in infra/adr/0015.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiokafka
import faust
import structlog
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode.threads import WorkerThread
from yarl import URL

from schemas import topics
from streams.agents.faust_security import credentials_of
from streams.engine.kafka.clients import KafkaSettings
from streams.engine.log import TopicPartition

GROUP = "crossdock.act"
"""The consumer group of all processes that act."""
COMMIT_S = 1.0
MOST_POLLED = 500
_log = structlog.get_logger(__name__)


def dispatches_in(partitions: Iterable[TP]) -> frozenset[TopicPartition]:
    """The partitions of dispatches among Faust's, in our terms."""
    return frozenset(TopicPartition(at.topic, at.partition) for at in partitions if at.topic == topics.DISPATCH.name)


class FaustApp(faust.App):
    """One life of Faust: it is started once, and once it has stopped or crashed another takes its place.

    Raises `ValueError` for security settings that its Kafka client cannot follow.
    """

    def __init__(self, kafka: KafkaSettings, group: str, away_s: float) -> None:
        session_s = kafka.session_ms / 1000
        brokers = [URL(f"kafka://{address.strip()}") for address in kafka.bootstrap.split(",")]
        super().__init__(
            group,
            broker=brokers,
            broker_credentials=credentials_of(kafka.clients),
            broker_client_id=group,
            broker_session_timeout=session_s,
            broker_heartbeat_interval=kafka.heartbeat_ms / 1000,
            # Joining takes no longer than the slowest member's look at its rows; requests have to outlast a session.
            broker_rebalance_timeout=max(session_s, kafka.request_s),
            broker_request_timeout=max(session_s, kafka.request_s) + 10,
            # The client is in a thread of its own, which says that all is well when our event loop hangs. This is what ends that.
            broker_max_poll_interval=away_s,
            broker_max_poll_records=MOST_POLLED,
            broker_commit_interval=COMMIT_S,
            # Dispatches from before the group was there are leased still, or come again: nothing is skipped.
            consumer_auto_offset_reset="earliest",
            # Positions are all that is committed: exactly-once sends leave Faust's transactions (faust-streaming 177, 517).
            processing_guarantee="at_least_once",
            # A dispatch is done with once it is handed over: nothing has to be waited for while partitions move.
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            # `schemas.topics` declares the topics, and the leader's would be one more: see `is_leader`.
            topic_allow_declare=False,
            topic_disable_leader=True,
            # It would listen on all addresses and show what the process holds.
            web_enabled=False,
            worker_redirect_stdouts=False,
            autodiscover=False,
            datadir=Path(),
        )
        self.transport = _Transport(brokers, self)

    def _create_directories(self) -> None:
        """It keeps nothing, so it has no directory."""

    def owned(self) -> frozenset[TopicPartition]:
        """The partitions of dispatches that are this process's, as far as it knows."""
        try:
            return dispatches_in(self.consumer.assignment())
        except ConsumerNotStarted:
            return frozenset()

    def is_leader(self) -> bool:
        """One process leads: whose the first partition is. Faust's own election takes a topic that it makes itself."""
        return TopicPartition(topics.DISPATCH.name, 0) in self.owned()

    def stay(self) -> None:
        """Say that the event loop is well, also when it asks for no records: it has no partition, or is to join again."""
        assert isinstance(self.consumer, _Consumer)
        self.consumer.stay()


class _DaemonThread(WorkerThread):
    """One that hangs does not keep the process from ending: then its session ends, and others take over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True


class _ConsumerThread(AIOKafkaConsumerThread):
    """Faust's Kafka client, mended."""

    Worker = _DaemonThread

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        """Committed records only: Faust does that with its own transactions alone.

        The fold writes dispatches in transactions. One that is undone must not be acted on: a zombie may have written it.
        """
        made = super()._create_worker_consumer(transport)
        made._isolation_level = "read_committed"
        return made

    def stay(self) -> None:
        """Count as active.

        aiokafka takes a member that asks for no records for idle, has it leave the group and never come back (aiokafka 720,
        1187): one without partitions would be no spare for anybody, one whose event loop hung would be out for good.
        """
        self.thread_loop.call_soon_threadsafe(self._stay)

    def _stay(self) -> None:
        if self._consumer is not None:
            with self._consumer._subscription.fetch_context():
                pass


class _Consumer(Consumer):
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def stay(self) -> None:
        assert isinstance(self._thread, _ConsumerThread)
        self._thread.stay()


class _Transport(Transport):
    Consumer = _Consumer


class _Retold(logging.Handler):
    """What Faust says goes where our own words go, in one form."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "faust says", logger=record.name, said=record.getMessage())


def retell() -> None:
    """Have Faust's words retold: errors only. Warnings it gives for every rebalance."""
    for name in ("faust", "mode", "aiokafka", __name__):  # a service of Faust speaks in the name of its class's module
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Retold) for handler in logger.handlers):
            logger.addHandler(_Retold(logging.ERROR))
            logger.propagate = False
