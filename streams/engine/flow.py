"""Flows: what runs over the log. A `Fold` keeps tables from its inbox; a `Translator` makes raw messages canonical.

    promise = Fold("promise", inbox=topics.PROMISE_INBOX, tables=PromiseTables)
    promise.on(StockReceived)(inventory.stock_received)          # the rule is plain and pure, in tables/

    @promise.derive(on=("items", "stock"))                       # once per changed item and commit
    def publish_atp(t: PromiseTables, item: str, version: int) -> Atp | None: ...

A rule gets the fold's tables and one event, and yields the events it causes; the engine knows by their types where they
go (`schemas.topics.ROUTES`). It answers otherwise by raising one of `schemas.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from schemas.errors import BrokenInvariant
from schemas.records import Record, Translation
from schemas.topics import ROUTES, Topic

T = TypeVar("T")
E = TypeVar("E")

Rule = Callable[[T, E], Iterable[Any]]
Derivation = Callable[[T, str, int], Any]
WaitsFor = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Derived(Generic[T]):
    """An output worked out from tables, once a changed key and commit. `on`: tables whose changed rows' first key part counts.

    The function gets the tables, the key and a version that rises with every commit that changed the key (the inbox
    position the answer reflects); it returns the record to publish, or none. It changes no table.
    """

    function: Derivation[T]
    on: tuple[str, ...]


class Fold(Generic[T]):
    """Rules that read one inbox topic, in order, and change the fold's own tables and emit events."""

    def __init__(self, name: str, inbox: Topic, tables: type[T]) -> None:
        self.name = name
        self.inbox = inbox
        self.tables = tables
        self.rules: dict[type[Any], Rule[T, Any]] = {}
        self.derivations: list[Derived[T]] = []
        self.releasing: dict[type[Any], tuple[WaitsFor | None, ...]] = {}

    def on(self, event: type[E]) -> Callable[[Rule[T, E]], Rule[T, E]]:
        """The rule for an event type. Raises `BrokenInvariant` if the type has a rule, or is not on the inbox."""
        if event in self.rules:
            raise BrokenInvariant(f"fold {self.name}: {event.__name__} has a rule already")
        if event not in {carried.type for carried in self.inbox.carries}:
            raise BrokenInvariant(f"fold {self.name}: {event.__name__} is not on {self.inbox.name}")

        def register(rule: Rule[T, E]) -> Rule[T, E]:
            self.rules[event] = rule
            return rule

        return register

    def derive(self, on: Sequence[str]) -> Callable[[Derivation[T]], Derivation[T]]:
        """A record worked out once for each key whose rows in these tables changed."""

        def register(function: Derivation[T]) -> Derivation[T]:
            self.derivations.append(Derived(function, tuple(on)))
            return function

        return register

    def release_on(self, *events: type[E], waits_for: Callable[[E], str | None] | None = None) -> None:
        """After one of these applied, events that `NotYet` parked are applied, oldest first: those of its key.

        `waits_for`: those that wait for what it names (as in `NotYet`) instead; none for nothing. May be called again for a type.
        """
        for event in events:
            self.releasing[event] = (*self.releasing.get(event, ()), waits_for)

    def unhandled(self) -> list[str]:
        """Event types of the inbox without a rule: wiring refuses to start with any."""
        return [carried.type.__name__ for carried in self.inbox.carries if carried.type not in self.rules]


Admit = Callable[[Any, Any], Iterable[Any]]


class Translator:
    """A pure function from raw records to canonical events, inside the engine: each message exactly once.

    `admit` (with its `tables`) is the feed ledger: it gets the `FeedPosition` of a translated message and raises
    `AlreadyApplied` for one the source has sent before. `items_of` finds the items a record names, whatever is wrong with it.
    Where `tables` come without `admit`, `translate` gets them first: what a message means depends on those before it.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        translate: Callable[..., Translation],
        *,
        tables: type[Any] | None = None,
        admit: Admit | None = None,
        items_of: Callable[[Record], Iterable[str]] | None = None,
    ) -> None:
        if tables is None and admit is not None:
            raise BrokenInvariant(f"translator {name}: a feed ledger needs its tables")
        self.name = name
        self.topics = tuple(topics)
        self.translate = translate
        self.tables = tables
        self.admit = admit
        self.items_of = items_of


def check_writer(flow: str, event: Any) -> None:
    """Raises `BrokenInvariant` if a flow writes what it is not the declared writer of."""
    route = ROUTES.get(type(event))
    if route is None:
        raise BrokenInvariant(f"{flow} yields {type(event).__name__}, which no topic carries")
    if flow not in route.writers:
        raise BrokenInvariant(f"{flow} yields {type(event).__name__}, but {route.topic.name} declares {', '.join(route.writers)}")
