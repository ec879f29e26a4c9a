"""Settings of a process that runs a worker."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Let the cyclic collector look less often: events and rows form no cycles, and walking them all is a tenth of the time.

    Objects alive now (code, schemas) are left out of its walks for good.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
