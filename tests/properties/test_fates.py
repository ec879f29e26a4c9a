"""Whatever is refused, raises, or waits: every record has one fate, and the state does not depend on where batches were cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.operations import DeadLetter
from streams.engine.fates import is_state
from streams.engine.limits import Limits
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.verify import verify
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    PARTITIONS,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    received,
    sent,
    suspect,
    to_inbox,
    toy_fold,
)

ITEMS = ("SKU-1", "SKU-2")
EVENTS = st.one_of(
    st.builds(lambda item: to_inbox(item_changed(item)), st.sampled_from(ITEMS)),
    st.builds(
        lambda item, n, uom: to_inbox(received(item, f"W-{n}", uom)),
        st.sampled_from(ITEMS),
        st.integers(0, 9),
        st.sampled_from([None, None, None, "REFUSED", "BUG"]),
    ),
    st.builds(lambda item: to_inbox(suspect(item, "why")), st.sampled_from(ITEMS)),
    st.builds(lambda item, junk: Outgoing(INBOX, 0, item.encode(), junk), st.sampled_from(ITEMS), st.binary(max_size=9)),
)


def played(history: Sequence[Outgoing], batch: int, release: int, restart: int) -> tuple[Any, dict[str, int], int]:
    """Rows, fates and dead letters after a history, with a restart after so many steps."""
    limits = Limits(release_batch=release, waiting=7)
    log = new_log(history)
    worker = new_worker(log, batch=batch, limits=limits)
    steps = 0
    while (report := worker.step()).inputs or report.rows:
        steps += 1
        if steps == restart:
            log = log.reopen()
            worker = new_worker(log, batch=batch, limits=limits)
    assert worker.halted == {}
    counted = fates(worker)
    worker.close()
    assert verify(log, [toy_fold()], CODEC, limits=limits).is_same
    written = sum(log.bounds(TopicPartition(INBOX, index))[1] for index in range(PARTITIONS))
    assert counted.get("inputs", 0) == written
    rows = [[row for row in part if is_state(row[0]) and not row[0].startswith(b"suspects")] for part in dump(log)]
    return rows, counted, len(sent(log, DeadLetter))


@settings(max_examples=15, deadline=None)
@given(st.lists(EVENTS, max_size=40), st.integers(1, 9), st.integers(1, 5), st.integers(1, 6))
def test_the_state_does_not_depend_on_batches_restarts_or_how_a_release_was_cut(
    history: list[Outgoing], batch: int, release: int, restart: int
) -> None:
    assert played(history, batch, release, restart) == played(history, 1_000, 1_000, 0)
