"""A served API for those who read schemas over HTTP, and what a Confluent client reads of our records."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import uvicorn
from confluent_kafka.schema_registry import SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastapi import FastAPI

from streams.runtime.api_server import bound
from tests.support.records import as_dict


@contextlib.contextmanager
def served(api: FastAPI) -> Iterator[str]:
    """The address of an application that listens."""
    with bound("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            assert server.started
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextlib.contextmanager
def client_of(url: str) -> Iterator[SchemaRegistryClient]:
    """Confluent's own client, closed at the end."""
    with SchemaRegistryClient({"url": url, "max.retries": 0}) as client:
        yield client


@contextlib.contextmanager
def reader_of(url: str, **conf: Any) -> Iterator[Callable[[str, bytes], Any]]:
    """A function from topic and record to plain data: Confluent's own deserializer, with the schemas of a registry."""
    named = {name.replace("_", "."): value for name, value in conf.items()}
    with client_of(url) as client:
        read = AvroDeserializer(client, conf={"subject.name.strategy": record_subject_name_strategy} | named)
        yield lambda topic, data: read(data, SerializationContext(topic, MessageField.VALUE))


def plain(event: Any) -> Any:
    """An event as plain data, as Avro libraries show it."""
    return _plain(as_dict(event))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.value if isinstance(value, Enum) else value
