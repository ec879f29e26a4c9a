"""What is kept: begun again when it fails, told while it is down, seen when it hangs, whatever it failed with."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from streams.engine.keeper import STEADY_S, Killed, ThreadKeeper


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it in time"
        time.sleep(0.002)


def _waited(stop: threading.Event) -> None:
    stop.wait()


class Panic(BaseException):
    """As RocksDB's binding raises it: no `Exception`."""


@pytest.mark.parametrize("error", [ValueError("no"), OSError(28, "No space left on device"), Panic("poisoned"), SystemExit(1)])
def test_what_fails_is_begun_again_and_told_until_it_has_come_round_twice(error: BaseException) -> None:
    keeper, stop, rounds, gate = ThreadKeeper((0.05, 0.05)), threading.Event(), [0], threading.Event()

    def run() -> None:
        while not stop.wait(0.001):
            keeper.beat("one")
            rounds[0] += 1
            if rounds[0] == 3:
                raise error
            if rounds[0] == 4:
                gate.wait(10)

    thread = keeper.thread("one", run, stop)
    thread.start()
    until(lambda: rounds[0] == 4)
    assert keeper.down() == {"one": f"{type(error).__name__}: {error}"}
    gate.set()
    until(lambda: not keeper.down())
    assert keeper.restarts() == {"one": 1}
    stop.set()
    thread.join()
    assert rounds[0] > 4


def test_pauses_grow_up_to_a_bound() -> None:
    keeper = ThreadKeeper((0.2, 30.0))
    assert [keeper.pause_s(n) for n in (1, 2, 3, 4)] == [0.2, 0.4, 0.8, 1.6]
    assert keeper.pause_s(100) == 30.0


def test_one_that_fails_at_once_each_time_stays_down() -> None:
    keeper, stop = ThreadKeeper((0.001, 0.001)), threading.Event()

    def run() -> None:
        keeper.beat("one")
        raise ValueError("no")

    thread = keeper.thread("one", run, stop)
    thread.start()
    until(lambda: keeper.restarts()["one"] > 20)
    assert all(keeper.down() for _ in range(1_000))
    stop.set()
    thread.join()


def test_one_that_ends_by_itself_has_failed_unless_it_may() -> None:
    keeper, stop = ThreadKeeper((0.01, 0.01)), threading.Event()
    for name, may_end in (("ends", False), ("may", True)):
        keeper.thread(name, lambda: None, stop, may_end=may_end).start()
    until(lambda: keeper.restarts()["ends"] > 1)
    assert keeper.down() == {"ends": "RuntimeError: it has ended by itself"}
    assert keeper.restarts()["may"] == 0
    stop.set()


def test_one_that_does_not_get_on_hangs() -> None:
    now, stop = [100.0], threading.Event()
    keeper = ThreadKeeper(clock_s=lambda: now[0])
    thread = keeper.thread("one", lambda: _waited(stop), stop, stall_s=60)
    thread.start()
    now[0] += 60
    assert keeper.down() == {}
    now[0] += 5
    assert keeper.down() == {"one": "it has not got on for 65 s"}
    keeper.beat("one")
    assert keeper.down() == {}
    stop.set()
    thread.join()


def test_one_that_has_run_long_enough_works_again_though_it_says_nothing() -> None:
    now, stop = [100.0], threading.Event()
    failed: list[int] = []
    keeper = ThreadKeeper((0.001, 0.001), clock_s=lambda: now[0])

    def run() -> None:
        failed.append(1)
        if len(failed) == 1:
            raise ValueError("no")
        stop.wait()

    thread = keeper.thread("one", run, stop)
    thread.start()
    until(lambda: keeper.restarts()["one"] == 1)
    assert keeper.down()
    until(lambda: len(failed) == 2)
    assert keeper.down()
    now[0] += STEADY_S + 1
    assert not keeper.down()
    stop.set()
    thread.join()


def test_a_drill_kills_it_in_its_next_round() -> None:
    keeper, stop = ThreadKeeper((0.01, 0.01)), threading.Event()

    def run() -> None:
        while not stop.wait(0.001):
            keeper.beat("one")

    thread = keeper.thread("one", run, stop)
    thread.start()
    keeper.kill("one")
    until(lambda: keeper.restarts()["one"] == 1)
    until(lambda: not keeper.down())
    with pytest.raises(KeyError):
        keeper.kill("nobody")
    stop.set()
    thread.join()


def test_a_task_is_begun_again_and_ends_when_its_work_does() -> None:
    keeper, runs = ThreadKeeper((0.01, 0.01)), []

    async def run() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise Killed("in a drill")

    asyncio.run(keeper.task("one", run, is_vital=False))
    assert (len(runs), keeper.restarts(), keeper.down()) == (3, {"one": 2}, {})


def test_what_others_keep_can_be_reported_too_and_what_is_not_vital_told_apart() -> None:
    keeper = ThreadKeeper()
    keeper.report("timer", "no")
    keeper.report("bar", "no", is_vital=False)
    assert (keeper.down(is_vital=True), keeper.down(is_vital=False)) == ({"timer": "no"}, {"bar": "no"})
    keeper.report("timer", None)
    assert keeper.down() == {"bar": "no"}
    assert keeper.names() == ["bar", "timer"]
