"""The collector rests in a batch, and comes after it."""

from __future__ import annotations

import gc

import pytest

from streams.engine.process import resting_collector


def test_the_collector_rests_until_the_end_whatever_the_end() -> None:
    """A batch that fails does not leave it off."""
    assert gc.isenabled()
    with resting_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="bad"), resting_collector():
        raise ValueError("bad")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    """Whoever turned it off turns it on."""
    with resting_collector():
        with resting_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_cycles_made_in_batches_are_collected_between_them() -> None:
    """Batches of nothing but cycles: no more than some thousands are ever alive."""
    alive: set[int] = set()

    class Cycle:
        def __init__(self) -> None:
            self.me = self
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    threshold = gc.get_threshold()
    gc.set_threshold(1_000, 10, 10)
    try:
        for _ in range(50):
            with resting_collector():
                for _ in range(500):
                    Cycle()
            [[] for _ in range(3)]  # whatever is made next has the collector look
    finally:
        gc.set_threshold(*threshold)
    assert len(alive) < 10_000
