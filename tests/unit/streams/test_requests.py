"""The command port: answers find whoever waits, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.api.ports import Busy, CommandResponse, Invalid, KeyReused, NotKnown, ReserveCommand
from schemas import topics
from schemas.codec import Codec
from schemas.inventory import ReserveStock
from schemas.operations import Reply
from streams.commands.request_reply import Requests, item_of, new_reservation_id, request_id_of
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partitions import partition_of

CODEC = Codec()


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(topics.DEFINED)
    return log


@pytest.fixture
def requests(log: MemoryLog) -> Iterator[Requests]:
    requests = Requests(log, log, CODEC, lambda: 5, ["web", "edi"], timeout_s=0.3)
    requests.start()
    yield requests
    requests.close()


def command(key: str = "k", item: str = "A", body_hash: str = "h", channel: str = "web") -> ReserveCommand:
    return ReserveCommand(key, body_hash, item, 1_000, None, None, channel, 60_000)


def reply(log: MemoryLog, request_id: str, status: int = 201, item: str = "A", body: str = "") -> None:
    answer = Reply(request_id=request_id, status=status, body=body or json.dumps({"item": item, "qty": 2.5}))
    key = request_id.encode()
    topic = topics.REPLIES.name
    log.append([Outgoing(topic, partition_of(key, topics.REPLIES.partitions), key, CODEC.encode(answer))])


def inbox(log: MemoryLog) -> list[ReserveStock]:
    found = []
    for partition in range(topics.PROMISE_INBOX.partitions):
        records = log.read(TopicPartition(topics.PROMISE_INBOX.name, partition), 0, 100)
        found += [CODEC.decode(record.value or b"") for record in records]
    return found


async def answered(log: MemoryLog, requests: Requests, ask: ReserveCommand, **more: str) -> CommandResponse:
    """Asks, and plays the fold."""
    asking = asyncio.create_task(requests.reserve(ask))
    name = request_id_of(ask)
    while not any(event.request_id == name for event in inbox(log)):
        await asyncio.sleep(0.005)
    await asyncio.to_thread(reply, log, name, **more)  # type: ignore[arg-type]
    return await asking


def test_a_command_goes_to_its_items_inbox_and_the_answer_comes_back(log: MemoryLog, requests: Requests) -> None:
    answer = asyncio.run(answered(log, requests, command()))
    assert (answer.status, answer.body["item"], str(answer.body["qty"])) == (201, "A", "2.5")
    (event,) = inbox(log)
    assert (event.item, item_of(event.reservation_id)) == ("A", "A")


def test_no_answer_in_time_says_to_send_it_again(requests: Requests) -> None:
    with pytest.raises(Busy, match="No answer came") as raised:
        asyncio.run(requests.reserve(command()))
    assert raised.value.is_timeout
    assert "same key" in raised.value.hint


def test_a_key_means_one_request_also_for_another_item(log: MemoryLog, requests: Requests) -> None:
    asyncio.run(answered(log, requests, command()))
    for other in (command(item="B"), command(body_hash="x")):
        with pytest.raises(KeyReused):
            asyncio.run(requests.reserve(other))


def test_a_key_used_before_a_restart_is_found_in_the_log(log: MemoryLog, requests: Requests) -> None:
    reply(log, request_id_of(command(key="old")), item="B")
    with pytest.raises(KeyReused):
        asyncio.run(requests.reserve(command(key="old")))


def test_whoever_waits_is_told_when_it_stops(log: MemoryLog) -> None:
    requests = Requests(log, log, CODEC, lambda: 5, ["web", "edi"], timeout_s=30)
    requests.start()
    threading.Timer(0.1, requests.close).start()
    began = time.monotonic()
    with pytest.raises(Busy) as raised:
        asyncio.run(requests.reserve(command()))
    assert not raised.value.is_timeout
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("item", ["A", "B/2", "ünï 3", "x" * 100])
def test_a_reservations_id_leads_back_to_its_item(item: str) -> None:
    found = new_reservation_id(item)
    assert item_of(found) == item
    assert found.replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_a_reservations_id_cannot_be_guessed(log: MemoryLog, requests: Requests) -> None:
    """Who knows the item and the key does not know the id: each request, a repetition too, brings another one."""
    for _ in range(2):
        with pytest.raises(Busy):
            asyncio.run(requests.reserve(command()))
    first, again = (event.reservation_id for event in inbox(log))
    assert first != again
    assert len(first.partition(".")[2]) == 32


def test_keys_are_a_channels_own(log: MemoryLog, requests: Requests) -> None:
    """Two channels may use the same key, and no key is taken for the release of a reservation."""
    asyncio.run(answered(log, requests, command("1")))
    asyncio.run(answered(log, requests, command("1", item="B", channel="edi"), item="B"))
    release = "release QQ.00"
    asyncio.run(answered(log, requests, command(release)))
    assert len({event.request_id for event in inbox(log)}) == 3
    assert release not in {event.request_id for event in inbox(log)}


@pytest.mark.parametrize("channel", ["Web", "web ", "wEb", "other", ""])
def test_a_channel_written_otherwise_takes_no_units(log: MemoryLog, requests: Requests, channel: str) -> None:
    """It would have a cap of its own."""
    with pytest.raises(Invalid, match="is not known"):
        asyncio.run(requests.reserve(command(channel=channel)))
    assert inbox(log) == []


@pytest.mark.parametrize("wrong", ["", "x", "...", "%%%.1", "gICA.1"])
def test_a_made_up_id_is_not_known(wrong: str) -> None:
    with pytest.raises(NotKnown):
        item_of(wrong)
