"""Reads all of an engine's outputs and compares what each key came to with what it must: a wrong run does not count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition as Place

from infra.bench.peers.cluster import BenchCluster, CannotMeasure, ends, reader
from infra.bench.peers.traffic import SiteSums, Sums, WarehouseTraffic
from schemas.codec import Codec

_CHUNK = 10_000


def values(cluster: BenchCluster, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """All committed records of a topic, each partition in order: key and value."""
    places = [Place(topic, place.partition, 0) for place in ends(cluster.admin, [topic])]
    consumer = reader(cluster)
    consumer.assign(places)
    open_ = {place.partition for place in places}
    while open_:
        for message in consumer.consume(_CHUNK, 0.2):
            error = message.error()
            if error is None:
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                assert isinstance(value, bytes)
                yield key, value
            elif error.code() == KafkaError._PARTITION_EOF:
                open_.discard(message.partition() or 0)
            else:
                raise CannotMeasure(f"The outputs cannot be read: {error.str()}")
    consumer.close()


class _Total(msgspec.Struct, gc=False):
    key: str
    count: int = 1
    sum: int = 0
    qty: int = 0


def check_sums(cluster: BenchCluster, topic: str, load: Sums, *, is_copy: bool) -> tuple[int, str]:
    """How many outputs there are, and what is wrong ("": nothing). `is_copy`: the outputs are the inputs (the ceiling)."""
    decode = msgspec.json.Decoder(_Total).decode
    found: dict[str, tuple[int, int]] = {}
    outputs = 0
    for _, value in values(cluster, topic):
        total = decode(value)
        outputs += 1
        if is_copy:
            count, units = found.get(total.key, (0, 0))
            found[total.key] = count + 1, units + total.qty
        else:
            found[total.key] = total.count, total.sum
    expected = sum(count for count, _ in load.expected.values())
    if outputs != expected:
        return outputs, f"{outputs} outputs for {expected} events"
    return outputs, _first_difference(found, load.expected)


def _first_difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    for key, wanted in expected.items():
        if found.get(key) != wanted:
            return f"{key} came to {found.get(key)}, not {wanted}"
    return "" if len(found) == len(expected) else f"{len(found)} keys, not {len(expected)}"


_Site = tuple[int, int, int, dict[str, list[int]]]


def check_promises(cluster: BenchCluster, topic: str, load: WarehouseTraffic, *, is_avro: bool) -> tuple[int, str]:
    """As `check_sums`, of workload (b): each item's units, day nets and what can be promised."""
    last: dict[bytes, bytes] = {}
    outputs = 0
    for key, value in values(cluster, topic):
        last[key] = value
        outputs += 1
    read = _from_avro if is_avro else _from_json
    codec = Codec()
    found = {key.decode(): read(codec, value) for key, value in last.items()}
    expected = {item: _wanted(site, load.today) for item, site in load.expected.items()}
    return outputs, _first_difference(found, expected)


def _wanted(site: SiteSums, today: str) -> _Site:
    days = {day: [net[0] * 1000, net[1] * 1000] for day, net in site.days.items()}
    return site.usable * 1000, site.staged * 1000, site.atp(today) * 1000, days


def _from_json(codec: Codec, value: bytes) -> _Site:
    del codec
    answer = msgspec.json.decode(value)
    (site,) = answer["sites"]
    return site["usable"], site["staged"], answer["atp"], site["days"]


def _from_avro(codec: Codec, value: bytes) -> _Site:
    answer = codec.decode(value)
    (site,) = answer.sites
    days = {net.day.isoformat(): [net.supply_milli, net.demand_milli] for net in site.days}
    return site.usable_milli, site.staged_milli, answer.atp_milli, days
