"""The command port: a command goes to its inbox, the fold that decides it answers on `replies.v1`, and whoever waits gets it.

The answer is as durable as the decision. A request that saw none (a timeout, a crash) is sent again under its key and gets
the one answer there is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from decimal import Decimal
from typing import Any

import structlog

from connectors.api.ports import Busy, CommandResponse, KeyReused, NotKnown, ReserveCommand, TooMany
from schemas import topics
from schemas.codec import Codec
from schemas.inventory import ReleaseReservation, ReserveStock
from schemas.operations import Reply
from schemas.records import Record
from streams.commands.hold_counts import HoldCounts
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Fenced, Log, Outgoing, Reader, TopicPartition, Unavailable
from streams.engine.partitions import partition_of
from streams.queries.references import check_channel

TIMEOUT_S = 5.0
AGAIN_S = 0.5
STALL_S = 60.0
MOST_WAITING = 2_000
REMEMBERED_KEYS = 100_000
_AGAIN = "It may have been carried out: send it again with the same key, and you get the one answer there is"
_log = structlog.get_logger(__name__)


def new_reservation_id(item: str) -> str:
    """An id for a hold: it leads back to its item, and nobody can guess it."""
    where = base64.urlsafe_b64encode(item.encode()).decode().rstrip("=")
    return f"{where}.{secrets.token_hex(16)}"


def request_id_of(command: ReserveCommand) -> str:
    """What a request is known by: keys are a channel's own, and in a space apart from releases."""
    return f"reserve {command.channel} {command.key}"


def item_of(reservation_id: str) -> str:
    """The item a hold is of. Raises `NotKnown` for an id that is none of ours."""
    where, dot, _ = reservation_id.partition(".")
    try:
        item = base64.urlsafe_b64decode(where + "=" * (-len(where) % 4)).decode()
    except ValueError:
        item = ""
    if not dot or not item:
        raise NotKnown(f"There is no reservation {reservation_id[:100]!r}. Its id is in the answer that granted it.")
    return item


class Requests:
    """Commands to the promise fold and their answers. `start` before use, `close` after."""

    def __init__(
        self,
        log: Log,
        reader: Reader,
        codec: Codec,
        clock_ms: Callable[[], int],
        channels: Collection[str],
        *,
        holds: HoldCounts | None = None,
        alive: Callable[[], Iterable[tuple[str, str, int]]] = tuple,
        timeout_s: float = TIMEOUT_S,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._log = log
        self._reader = reader
        self._codec = codec
        self._clock_ms = clock_ms
        self._channels = frozenset(channels)
        self._holds = holds or HoldCounts(lambda channel: sys.maxsize, clock_ms)
        self._alive = alive
        self._is_counted = False
        self._timeout_s = timeout_s
        self._waiting: dict[str, list[Future[Reply]]] = {}
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._positions: dict[TopicPartition, int] = {}
        self.unreadable = 0
        self._thread = (keeper or ThreadKeeper()).thread("replies", self._follow, self._stopping, stall_s=STALL_S)

    def start(self) -> None:
        """Listen for answers from now on."""
        topic = topics.REPLIES.name
        places = [TopicPartition(topic, partition) for partition in range(self._log.partitions(topic))]
        self._positions = {at: self._log.bounds(at)[1] for at in places}
        self._thread.start()

    def close(self) -> None:
        """Stop listening; whoever waits is told so."""
        self._stopping.set()
        self._thread.join()
        self._fail_all(Busy("crossdock is stopping", _AGAIN))

    async def reserve(self, command: ReserveCommand) -> CommandResponse:
        """Hold units (see `tables.inventory.reservations`)."""
        check_channel(command.channel, self._channels)
        request_id = request_id_of(command)
        try:
            self._holds.admit(command.channel)  # in memory: nothing can end this request between here and `answered`
        except TooMany:
            if not await asyncio.to_thread(self._is_again, request_id):
                raise
            return await self._reserve(request_id, command)
        try:
            return await self._reserve(request_id, command)
        finally:
            self._holds.answered(command.channel)

    def _is_again(self, request_id: str) -> bool:
        """Whether it is a repetition, which gets its answer whatever its channel has."""
        with self._lock:
            if request_id in self._keys:
                return True
        return next(iter(self._reader.by_key(topics.REPLIES.name, request_id.encode(), 1)), None) is not None

    async def _reserve(self, request_id: str, command: ReserveCommand) -> CommandResponse:
        await asyncio.to_thread(self._claim, request_id, command)
        event = ReserveStock(
            **self._header(request_id),
            item=command.item,
            request_id=request_id,
            body_hash=command.body_hash,
            reservation_id=new_reservation_id(command.item),
            site=command.site,
            channel=command.channel,
            qty_milli=command.qty_milli,
            uom=command.uom,
            ttl_ms=command.ttl_ms,
        )
        return await self._ask(request_id, command.item, event)

    async def release(self, reservation_id: str) -> CommandResponse:
        """Give a hold back."""
        item = item_of(reservation_id)
        request_id = f"release {reservation_id}"
        event = ReleaseReservation(**self._header(request_id), item=item, request_id=request_id, reservation_id=reservation_id)
        return await self._ask(request_id, item, event)

    def _header(self, request_id: str) -> dict[str, Any]:
        now_ms = self._clock_ms()
        return {
            "event_id": f"api:{request_id}",
            "source": topics.API,
            "source_position": now_ms,
            "occurred_at_ms": now_ms,
            "recorded_at_ms": now_ms,
            "trace_id": f"request/{request_id}",
        }

    def _claim(self, request_id: str, command: ReserveCommand) -> None:
        """A key means one request. The item's fold holds it to that for its item; here for all of them."""
        meaning = f"{command.body_hash} {command.item}"
        with self._lock:
            held = self._keys.setdefault(request_id, meaning)
            self._keys.move_to_end(request_id)
            if len(self._keys) > REMEMBERED_KEYS:
                self._keys.popitem(last=False)
        if held != meaning or self._was_for_another(request_id, command):
            raise KeyReused(f"The Idempotency-Key {command.key[:100]!r} was used for another request")

    def _was_for_another(self, request_id: str, command: ReserveCommand) -> bool:
        for record in self._reader.by_key(topics.REPLIES.name, request_id.encode(), 1):
            reply = self._decoded(record)
            item = None if reply is None else json.loads(reply.body).get("item")
            return item is not None and item != command.item
        return False

    async def _ask(self, request_id: str, item: str, event: Any) -> CommandResponse:
        waiting: Future[Reply] = Future()
        with self._lock:
            if self._stopping.is_set() or sum(map(len, self._waiting.values())) >= MOST_WAITING:
                raise Busy("Too many requests wait for an answer", "Try again in a second, with the same key")
            self._waiting.setdefault(request_id, []).append(waiting)
        try:
            await asyncio.to_thread(self._append, item, event)
            reply = await asyncio.wait_for(asyncio.wrap_future(waiting), self._timeout_s)
        except TimeoutError:
            raise Busy(f"No answer came in {self._timeout_s:g} s", _AGAIN, is_timeout=True) from None
        except (Unavailable, Fenced) as error:
            raise Busy(f"The log cannot take it now ({error})", "Send it again in a moment, with the same key") from None
        finally:
            self._forget(request_id, waiting)
        return CommandResponse(reply.status, json.loads(reply.body, parse_float=Decimal))

    def _append(self, item: str, event: Any) -> None:
        topic = topics.PROMISE_INBOX.name
        key = item.encode()
        partition = partition_of(key, self._log.partitions(topic))
        self._log.append([Outgoing(topic, partition, key, self._codec.encode(event))])

    def _forget(self, request_id: str, waiting: Future[Reply]) -> None:
        with self._lock:
            others = [f for f in self._waiting.get(request_id, []) if f is not waiting]
            if others:
                self._waiting[request_id] = others
            else:
                self._waiting.pop(request_id, None)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except Unavailable as error:
                _log.warning("answers are not read for a moment", reason=str(error))
                self._stopping.wait(AGAIN_S)

    def _listen(self) -> None:
        if not self._is_counted:  # `_positions` are older than these rows: no answer is missed in between
            self._holds.alive(self._alive())
            self._is_counted = True
        follower = self._log.follow(self._positions)
        try:
            while not self._stopping.is_set():
                self._thread.beat()
                for record in follower.poll(1_000, 0.2):
                    self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
                    reply = self._decoded(record)
                    if reply is not None:
                        self._holds.note(reply)
                        self._resolve(reply)
        finally:
            follower.close()

    def _decoded(self, record: Record) -> Reply | None:
        """The answer; none if it is none: whoever waits for it asks again under its key, and everybody else gets theirs."""
        if record.value is None:
            return None
        try:
            reply = self._codec.decode(record.value)
            json.loads(reply.body)
        except Exception:
            self.unreadable += 1
            _log.exception("an answer cannot be read", topic=record.topic, partition=record.partition, offset=record.offset)
            return None
        return reply if isinstance(reply, Reply) else None

    def _resolve(self, reply: Reply) -> None:
        with self._lock:
            waiting = self._waiting.pop(reply.request_id, [])
        for future in waiting:
            _settle(future, reply)

    def _fail_all(self, error: Busy) -> None:
        with self._lock:
            waiting = [future for futures in self._waiting.values() for future in futures]
            self._waiting.clear()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)


def _settle(future: Future[Reply], reply: Reply) -> None:
    if future.set_running_or_notify_cancel():  # otherwise whoever waited has given up
        future.set_result(reply)
