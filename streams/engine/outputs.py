"""Outputs: an event a rule yields becomes a record of the topic that carries its type."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from schemas.codec import Codec
from schemas.records import Headers
from schemas.topics import ROUTES
from streams.engine.flow import check_writer
from streams.engine.log import Log, Outgoing
from streams.engine.partitions import partition_of

_Way = tuple[str, Callable[[Any], str], int, bool, Callable[[Any], bytes]]


MAX_EVENT_BYTES = 8 * 1024 * 1024 - 64 * 1024
"""What a record of any log takes, less its key and headers."""


class TooLarge(ValueError):
    """An event that no record can hold."""


class Outputs:
    """Records one writer adds to a batch (`outgoing`), routed by type. What depends on the type only is worked out once.

    What depends on the key (its partition) is worked out anew: as cheap as looking it up, and order ids are without end.
    """

    __slots__ = ("_codec", "_log", "_routes", "_writer", "outgoing")

    def __init__(self, writer: str, log: Log, codec: Codec, outgoing: list[Outgoing]) -> None:
        self.outgoing = outgoing
        self._writer = writer
        self._log = log
        self._codec = codec
        self._routes: dict[type[Any], _Way] = {}

    def emit(self, event: Any, headers: Headers = ()) -> None:
        """Add an event. Raises `BrokenInvariant` if it is not this writer's, `ValueError` if no record can hold it."""
        route = self._routes.get(type(event))
        topic, key_of, partitions, is_broadcast, encode = route if route is not None else self._route(event)
        data = key_of(event).encode()
        value = encode(event)
        if len(value) > MAX_EVENT_BYTES:
            raise TooLarge(f"it makes {type(event).__name__} of {len(value):,} bytes: a record takes {MAX_EVENT_BYTES:,}")
        if is_broadcast:
            self.outgoing.extend([Outgoing(topic, partition, data, value, headers) for partition in range(partitions)])
        else:
            self.outgoing.append(Outgoing(topic, partition_of(data, partitions), data, value, headers))

    def _route(self, event: Any) -> _Way:
        check_writer(self._writer, event)
        route = ROUTES[type(event)]
        name = route.topic.name
        found = name, attrgetter(route.key), self._log.partitions(name), route.is_broadcast, self._codec.encoder(type(event))
        self._routes[type(event)] = found
        return found
