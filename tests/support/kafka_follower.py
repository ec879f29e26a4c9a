"""A process that keeps a group's rows and owns nothing.

`python -m tests.support.kafka_follower BROKER DIRECTORY GROUP TOPIC`. It says `caught up` once, then follows until killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from streams.engine.kafka.log import KafkaLog
from tests.support.kafka_worker import settings


def main(broker: str, directory: str, group: str, topic: str) -> None:
    log = KafkaLog(settings(broker), Path(directory))
    log.keep(group, [group], [topic])
    while not all(kept.caught_up_ms for kept in log.kept()):
        time.sleep(0.01)
    print("caught up", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
