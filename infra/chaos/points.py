"""Named points of a worker's batch, for those who want it to end or stand still there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.engine.kafka.transaction import Transactor

OUTSIDE = ("before_apply", "after_apply", "before_commit", "after_commit")
"""Points the worker names itself."""
INSIDE = ("records_written", "offsets_sent", "transaction_committed")
"""Points inside a commit. At the last one the brokers have the rows, the local store does not yet."""


def name_inside(at: Callable[[str], None]) -> None:
    """Have every commit of this process name the points inside it. The engine itself has no use for such a hook."""
    sending: Any = Transactor._send_offsets
    ending: Any = Transactor._commit

    def send_offsets(self: Transactor, *args: Any) -> None:
        at("records_written")
        sending(self, *args)

    def commit(self: Transactor) -> None:
        at("offsets_sent")
        ending(self)
        at("transaction_committed")

    setattr(Transactor, "_send_offsets", send_offsets)  # noqa: B010 - mypy would have it be as it was
    setattr(Transactor, "_commit", commit)  # noqa: B010
