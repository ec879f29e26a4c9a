"""A channel has no more reservations alive over all items than it may: it is told when to ask for another one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from connectors.api.app import create_api
from connectors.api.ports import Busy, CommandResponse, ReserveCommand, TooMany
from schemas import topics
from schemas.codec import Codec
from schemas.operations import Reply
from streams.commands.hold_counts import LONGEST_WAIT_S, HoldCounts
from streams.commands.request_reply import Requests
from streams.engine.memory.log import MemoryLog
from streams.settings.settings import load
from tests.support.api_fakes import Client, Fake, ports
from tests.support.promises import NOON, Bench
from tests.unit.streams.test_requests import answered, command, inbox

CODEC = Codec()


def granted(name: str, until_ms: int = 1_000, channel: str = "web", status: int = 201) -> Reply:
    body = {"reservation_id": name, "item": "A", "channel": channel, "expires_at_ms": until_ms}
    return Reply(request_id=f"reserve {channel} {name}", status=status, body=json.dumps(body))


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(clock: Clock) -> HoldCounts:
    return HoldCounts({"web": 2, "edi": 1, "crm": 0}.__getitem__, clock)


def holds(counts: HoldCounts, name: str, until_ms: int = 1_000, channel: str = "web") -> None:
    counts.admit(channel)
    counts.note(granted(name, until_ms, channel))
    counts.answered(channel)


def test_what_is_alive_counts_whoever_granted_it_and_whatever_the_item(counts: HoldCounts) -> None:
    holds(counts, "a")
    counts.note(granted("b"))  # another process was asked
    with pytest.raises(TooMany, match="web has 2 reservations alive, of the 2 that it may have over all items"):
        counts.admit("web")
    counts.admit("edi")
    with pytest.raises(TooMany):
        counts.admit("crm")


def test_what_is_given_back_or_over_makes_room(counts: HoldCounts, clock: Clock) -> None:
    holds(counts, "a", 5_000)
    holds(counts, "b", 90_000)
    with pytest.raises(TooMany) as found:
        counts.admit("web")
    assert found.value.wait_s == 6
    counts.note(granted("a", 5_000, status=200))
    holds(counts, "c", 100_000)
    with pytest.raises(TooMany) as found:
        counts.admit("web")
    assert found.value.wait_s == LONGEST_WAIT_S
    clock.now_ms = 90_000
    holds(counts, "d", 200_000)


def test_what_is_asked_and_not_answered_yet_counts(counts: HoldCounts) -> None:
    counts.admit("web")
    counts.admit("web")
    with pytest.raises(TooMany):
        counts.admit("web")
    counts.answered("web")
    counts.admit("web")


def test_repeated_late_and_refused_answers_do_not_count(counts: HoldCounts) -> None:
    counts.note(granted("a", status=200))
    counts.note(granted("a"))  # given back already, and the answer that granted it is given again
    counts.note(granted("b"))
    counts.note(granted("b"))
    counts.note(Reply(request_id="x", status=409, body='{"available": 0}'))
    counts.note(Reply(request_id="x", status=200, body="{}"))
    holds(counts, "c")
    with pytest.raises(TooMany):
        counts.admit("web")


def test_what_was_alive_before_counts_once(counts: HoldCounts) -> None:
    counts.note(granted("a"))
    counts.alive([("web", "a", 1_000), ("web", "b", 1_000), ("web", "over", 0)])
    with pytest.raises(TooMany):
        counts.admit("web")


def test_the_folds_own_answers_are_understood(clock: Clock) -> None:
    clock.now_ms = NOON
    counts, bench = HoldCounts(lambda channel: 2, clock), Bench()
    for item in ("SKU-1", "SKU-2", "SKU-3"):
        bench.item(item)
        bench.receive("5", item)
    for item in ("SKU-1", "SKU-2"):
        counts.note(bench.reserve("1", f"R-{item}", item=item))
    counts.note(bench.reserve("99", "R-0", item="SKU-3"))
    with pytest.raises(TooMany):
        counts.admit("web")
    counts.note(bench.release("R-SKU-1", "release", "SKU-1"))
    counts.admit("web")


@pytest.mark.parametrize("seed", range(10))
def test_the_count_is_what_is_alive_whatever_comes_in_whatever_order(seed: int, clock: Clock) -> None:
    rng = Random(seed)
    most = 8
    counts, alive = HoldCounts(lambda channel: most, clock), dict[str, int]()
    for n in range(600):
        clock.now_ms += rng.randrange(3)
        alive = {name: until for name, until in alive.items() if until > clock.now_ms}
        if alive and rng.random() < 0.3:
            name = rng.choice(sorted(alive))
            counts.note(granted(name, alive.pop(name), status=200))
            continue
        try:
            holds(counts, f"R-{n}", until_ms := clock.now_ms + rng.randrange(1, 40))
        except TooMany:
            assert len(alive) == most
        else:
            alive[f"R-{n}"] = until_ms
            assert len(alive) <= most


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(topics.DEFINED)
    return log


@pytest.fixture
def requests(log: MemoryLog) -> Iterator[Requests]:
    alive = [("edi", "E", 1_000)]
    requests = Requests(
        log,
        log,
        CODEC,
        lambda: 5,
        ["web", "edi"],
        holds=HoldCounts(lambda channel: 1, lambda: 5),
        alive=lambda: alive,
        timeout_s=2,
    )
    requests.start()
    yield requests
    requests.close()


def one() -> HoldCounts:
    return HoldCounts(lambda channel: 1, lambda: 5)


def passed_on(log: MemoryLog) -> int:
    return len([event for event in inbox(log) if event.request_id == "reserve web 1"])


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def asked(log: MemoryLog, requests: Requests, ask: ReserveCommand) -> CommandResponse:
    body = {"reservation_id": f"id {ask.key}", "channel": ask.channel, "expires_at_ms": 1_000, "item": ask.item}
    return asyncio.run(answered(log, requests, ask, body=json.dumps(body)))


def test_beyond_the_limit_nothing_is_asked_but_a_repetition_gets_its_answer(log: MemoryLog, requests: Requests) -> None:
    assert asked(log, requests, command("1")).status == 201
    with pytest.raises(TooMany):
        asyncio.run(requests.reserve(command("2", item="B")))
    assert len(inbox(log)) == passed_on(log) == 1
    with pytest.raises(Busy):  # here the fold does not answer again
        asyncio.run(requests.reserve(command("1")))
    assert passed_on(log) == 2
    with pytest.raises(TooMany):  # alive before the process started
        asyncio.run(requests.reserve(command("3", channel="edi")))


def test_a_repetition_after_a_restart_is_known_from_the_log(log: MemoryLog, requests: Requests) -> None:
    asked(log, requests, command("1"))
    alive = [("web", "id 1", 1_000)]
    later = Requests(log, log, CODEC, lambda: 5, ["web"], holds=one(), alive=lambda: alive, timeout_s=0.3)
    later.start()
    try:
        wait_for(lambda: is_full(later))
        with pytest.raises(Busy):
            asyncio.run(later.reserve(command("1")))
        assert passed_on(log) == 2
    finally:
        later.close()


def is_full(requests: Requests) -> bool:
    try:
        asyncio.run(requests.reserve(command("2")))
    except TooMany:
        return True
    except Busy:
        return False
    return False


def test_the_caller_is_told_429_and_when_to_try_again() -> None:
    fake = Fake()
    fake.answer = TooMany("web has 2 reservations alive", "Release some, or let them expire", 7)
    body = {"item": "A", "qty": "1", "channel": "web", "ttl_s": 60}
    response = Client(create_api(ports(fake))).post("/v1/reservations", json=body, headers={"Idempotency-Key": "k"})
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
    assert response.json()["detail"] == "web has 2 reservations alive. Release some, or let them expire."


def test_each_channel_has_the_limit_of_its_settings(tmp_path: Path) -> None:
    (tmp_path / "crossdock.toml").write_text("[channel.web]\nhold_total = 3\n[default_channel]\nhold_total = 4\n")
    settings = load(data=tmp_path)
    assert [settings.hold_total(name) for name in ("web", "edi")] == [3, 4]
    assert load(data=tmp_path / "none").hold_total("web") == 10_000


def test_a_caller_who_goes_away_gives_its_place_back(log: MemoryLog, requests: Requests) -> None:
    """The channel may have two: as many requests as one likes end before their answer, wherever they are."""

    async def left(turns: int, name: str) -> None:
        asked = asyncio.create_task(requests.reserve(command(name, item="B")))
        for _ in range(turns):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    for turns in range(12):
        asyncio.run(left(turns, f"gone {turns}"))
    with pytest.raises(Busy) as waited:  # nobody folds here: it was admitted, and waits in vain
        asyncio.run(requests.reserve(command("here", item="B")))
    assert not isinstance(waited.value, TooMany)


@pytest.mark.parametrize("body", ["", "[]", "null", '{"reservation_id": 1}', '{"reservation_id": "a", "expires_at_ms": "soon"}'])
def test_an_answer_that_says_nothing_of_a_hold_is_passed_over(counts: HoldCounts, body: str) -> None:
    counts.note(Reply(request_id="r", status=201, body=body))
    holds(counts, "x")
    holds(counts, "y")
    with pytest.raises(TooMany):
        counts.admit("web")
