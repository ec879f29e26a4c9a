"""Agents on Faust in a process of their own: `python -m tests.support.faust_agents BROKER DIRECTORY URL GROUP`.

Says `tick` whenever its timer runs, `halted` and why if it is, and serves until its standard input ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch, DispatchAnswered
from schemas.obligations import NotifyStatus, to_json
from streams.agents.faust_host import FaustHost, FaustTimeouts, Timer
from streams.agents.host import Leases
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import Log, Outgoing, TopicPartition
from streams.engine.partitions import partition_of
from streams.runtime.agent_roster import roster
from streams.settings.sections import EndpointSettings

CODEC = Codec()
QUICK = {"timeout_s": 1.5, "lease_s": 4.0, "retry_s": 0.1, "retry_most_s": 0.5, "pause_s": 0.2, "pause_most_s": 0.5}
SLOW_TO_LAPSE = {**QUICK, "timeout_s": 30.0, "lease_s": 300.0}
PATIENCE = FaustTimeouts(stuck_s=4, away_s=3)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings(broker: str) -> KafkaSettings:
    return KafkaSettings(broker, session_ms=3_000, heartbeat_ms=300, transaction_ms=4_000)


def portals(url: str) -> dict[str, EndpointSettings]:
    """Endpoints enough to be on every partition. `patient` has leases that no test waits for."""
    served = {f"portal{n}": QUICK for n in range(8)} | {"patient": SLOW_TO_LAPSE}
    common = {"role": "notify", "url": url, "secret": "top secret"}
    return {name: EndpointSettings.model_validate({**common, **how}) for name, how in served.items()}


def dispatch(name: str, endpoint: str) -> Dispatch:
    """An attempt that no fold knows of."""
    body = to_json(NotifyStatus(name, 0, "accepted", "web", name, "C-1", 0))
    return Dispatch(
        event_id=name, source="deliveries", source_position=1, occurred_at_ms=0, recorded_at_ms=0, trace_id=name,
        endpoint=endpoint, aggregate=name, obligation_id=name, kind="notify_status", body=body, attempt=1,
        lease_until_ms=now_ms() + 60_000,
    )  # fmt: skip


def record_of(sent: Dispatch) -> Outgoing:
    """Where and how it is written."""
    key = sent.endpoint.encode()
    return Outgoing(topics.DISPATCH.name, partition_of(key, topics.DISPATCH.partitions), key, CODEC.encode(sent))


class Answers:
    """Which attempts were answered, by the answers themselves."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._seen: set[tuple[str, int]] = set()
        self._read = {TopicPartition(topics.DELIVERY_INBOX.name, n): 0 for n in range(topics.DELIVERY_INBOX.partitions)}

    def is_open(self, dispatch: Dispatch) -> bool:
        with self._lock:
            for at, position in self._read.items():
                for record in self._log.read(at, position, 10_000):
                    event = CODEC.decode(record.value or b"")
                    self._read[at] = record.offset + 1
                    if isinstance(event, DispatchAnswered):
                        self._seen.add((event.obligation_id, event.attempt))
            return (dispatch.obligation_id, dispatch.attempt) not in self._seen


def host(
    log: Log,
    kafka: KafkaSettings,
    url: str,
    group: str,
    on_halt: Callable[[str], None],
    timers: list[Timer],
    answers: Answers | None = None,
) -> tuple[FaustHost, CollectorRegistry]:
    """Agents for all portals, not begun. `answers`: those of another log, where this one may not read them."""
    endpoints, registry = portals(url), CollectorRegistry()
    longest_ms = max(int(endpoint.lease_s * 1000) for endpoint in endpoints.values())
    made = FaustHost(
        log,
        CODEC,
        lambda http: roster(endpoints, http, now_ms),
        Leases(longest_ms, (answers or Answers(log)).is_open),
        clock_ms=now_ms,
        registry=registry,
        on_halt=on_halt,
        kafka=kafka,
        timers=timers,
        group=group,
        patience=PATIENCE,
    )
    return made, registry


def say(word: str) -> None:
    """Tell whoever began this process."""
    print(word, flush=True)


def main(broker: str, directory: str, url: str, group: str) -> None:
    kafka = settings(broker)
    log = KafkaLog(kafka, Path(directory))
    agents, _ = host(log, kafka, url, group, lambda reason: say(f"halted {reason}"), [Timer("tick", 0.2, lambda: say("tick"))])
    agents.start()
    sys.stdin.read()
    agents.stop()
    log.close()
    say("ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
