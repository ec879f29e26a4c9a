"""Settings of a process that runs a worker."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def calm_collector() -> None:
    """Let the cyclic collector look less often: events and rows form no cycles, and walking them is a tenth of the time.

    Objects alive now (code, schemas) are left out of its walks for good.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def resting_collector() -> Iterator[None]:
    """Keep the cyclic collector out of a batch.

    It counts objects made less objects gone. In a batch that is hundreds of thousands of records and rows, all in use, but
    after it little more than real garbage: so it still comes for cycles, between batches.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
