"""What delivering agents have in common: every attempt is answered for within its lease, and so many are made at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from connectors.outbound import CannotSend, EndpointFailed, EndpointRefused
from schemas.deliveries import Dispatch, DispatchAnswered
from schemas.obligations import NotifyStatus, StatusNotified, to_json
from streams.agents.delivery import SLACK_MS, AgentLimits, Call, deliver

NOW_MS = 1_000_000
BODY = to_json(NotifyStatus("web:W1", 1, "accepted", "web", "W1", "C-1", 0))


def dispatch(name: str = "n", kind: str = "notify_status", body: str = BODY, lease_ms: int = 30_000) -> Dispatch:
    return Dispatch(
        event_id=name, source="deliveries", source_position=1, occurred_at_ms=NOW_MS, recorded_at_ms=NOW_MS, trace_id=f"t/{name}",
        endpoint="portal", aggregate="web:W1", obligation_id=name, kind=kind, body=body, attempt=3,
        lease_until_ms=NOW_MS + lease_ms,
    )  # fmt: skip


async def feed(dispatches: list[Dispatch]) -> AsyncIterator[Dispatch]:
    for one in dispatches:
        yield one


def answers(dispatches: list[Dispatch], calls: Mapping[str, Call], at_once: int = 4) -> list[DispatchAnswered]:
    async def run() -> list[DispatchAnswered]:
        return [answer async for answer in deliver(feed(dispatches), calls, AgentLimits(at_once, lambda: NOW_MS))]

    return asyncio.run(run())


async def takes(notice: NotifyStatus, key: str) -> StatusNotified:
    assert (notice.order_id, key) == ("web:W1", "n")
    return StatusNotified()


def raising(error: Exception) -> Call:
    async def call(asked: Any, key: str) -> Any:
        raise error

    return call


def test_a_call_that_succeeds_is_done_with_its_answer() -> None:
    (answer,) = answers([dispatch()], {"notify_status": takes})
    assert (answer.outcome, answer.status, answer.answer, answer.attempt) == ("done", 200, "{}", 3)
    assert (answer.endpoint, answer.aggregate, answer.obligation_id, answer.trace_id) == ("portal", "web:W1", "n", "t/n")


@pytest.mark.parametrize(
    ("sent", "call", "outcome", "status", "says"),
    [
        (dispatch(), raising(EndpointRefused(422, "no")), "refused", 422, "no"),
        (dispatch(), raising(EndpointFailed(503, "later", 7)), "failed", 503, "later"),
        (dispatch(), raising(ZeroDivisionError("ours")), "unsendable", 0, "ZeroDivisionError: ours"),
        (dispatch(), raising(CannotSend("its address is empty")), "unsendable", 0, "its address is empty"),
        (dispatch(), raising(EndpointFailed(0, "quoted \ud800")), "failed", 0, "quoted \\ud800"),
        (dispatch(kind="post_order"), takes, "refused", 0, "portal takes no post_order"),
        (dispatch(body="{}"), takes, "refused", 0, "notify_status"),
    ],
)
def test_everything_else_is_told_apart(sent: Dispatch, call: Call, outcome: str, status: int, says: str) -> None:
    (answer,) = answers([sent], {"notify_status": call})
    assert (answer.outcome, answer.status) == (outcome, status)
    assert says in answer.answer
    assert answer.retry_after_ms == (7 if status == 503 else None)


def test_a_call_ends_before_its_lease_does() -> None:
    async def hangs(asked: Any, key: str) -> Any:
        await asyncio.sleep(60)

    (answer,) = answers([dispatch(lease_ms=SLACK_MS + 50)], {"notify_status": hangs})
    assert (answer.outcome, answer.answer) == ("failed", "no answer before the lease ran out")


def test_an_attempt_whose_lease_has_run_out_is_not_made() -> None:
    assert answers([dispatch(lease_ms=0), dispatch(lease_ms=SLACK_MS)], {"notify_status": raising(AssertionError())}) == []


def test_so_many_calls_are_made_at_once_and_answered_as_they_end() -> None:
    running = most = 0

    async def slow(notice: NotifyStatus, key: str) -> StatusNotified:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if key == "0" else 0.001)
        running -= 1
        return StatusNotified()

    found = [answer.obligation_id for answer in answers([dispatch(str(n)) for n in range(9)], {"notify_status": slow}, at_once=3)]
    assert sorted(found) == [str(n) for n in range(9)]
    assert most == 3
    assert found[0] != "0"


def test_an_agent_that_is_cancelled_leaves_nothing_running() -> None:
    cancelled = []

    async def hangs(notice: NotifyStatus, key: str) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(key)
            raise

    async def run() -> None:
        async def use() -> None:
            async for _ in deliver(
                feed([dispatch("a"), dispatch("b")]), {"notify_status": hangs}, AgentLimits(4, lambda: NOW_MS)
            ):
                raise AssertionError("nothing can have ended")

        task = asyncio.create_task(use())
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert {t for t in asyncio.all_tasks() if t is not asyncio.current_task()} == set()

    asyncio.run(run())
    assert sorted(cancelled) == ["a", "b"]
