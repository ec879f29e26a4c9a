"""The course of a simulation: a history is delivered step by step; after each the system is left to come to rest, and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, partial
from random import Random
from typing import Any

from infra.simulation import invariants
from infra.simulation.channel_people import ReservationRelease, Reserve
from infra.simulation.facts import Fact, HoldFact, RawMessage, ReleaseFact
from infra.simulation.history import play
from infra.simulation.observe import ALL, CommittedState, units
from infra.simulation.oracle import Oracle
from infra.simulation.person import breakable
from infra.simulation.snapshot_ends import SnapshotEnds
from infra.simulation.system_under_test import Flows, NeverRests, SystemUnderTest, all_flows, request_id
from infra.simulation.waits import waits
from infra.simulation.world import HOUR_MS, SimulatedWorld
from schemas import topics
from schemas.codec import Codec
from schemas.frozen import replace
from schemas.operations import Reply
from streams.engine.controls import read_controls
from streams.engine.fates import NAMESPACE, ONE, InputFates, is_state
from streams.engine.log import TopicPartition
from streams.engine.memory.log import LogFaults, MemoryStore
from streams.engine.partition import Limits, PartitionHalted, open_partition, store_id
from streams.engine.table import EngineTable, Journal
from tables.common.policy import Policy, SitePolicy

MOST_TOLD = 12


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What one seed did. `wrong`: sentences, empty if all is well. `digest`: of all rows at the
    end and all that was published; equal for equal runs.
    """

    seed: int
    steps: int = 0
    messages: int = 0
    inputs: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    crashes: int = 0
    failed_step: str | None = None
    wrong: tuple[str, ...] = ()
    digest: str = ""

    @property
    def is_ok(self) -> bool:
        """Nothing was wrong."""
        return not self.wrong

    def __str__(self) -> str:
        if self.is_ok:
            return f"seed {self.seed}: {self.steps} steps, {self.messages} messages, {self.crashes} crashes: all invariants hold"
        lines = [f"seed {self.seed}, {self.failed_step}: {len(self.wrong)} things are wrong", *self.wrong[:MOST_TOLD]]
        return "\n  ".join([*lines, f"replay it with: crossdock simulate --seed {self.seed}"])


@cache
def _codec() -> Codec:
    return Codec()


@dataclass(slots=True)
class SimulationRun:
    """One simulation: the world, the system under test, and what the oracle has been told."""

    seed: int
    flows: Flows = all_flows
    rates: tuple[float, ...] = (0.0, 0.005, 0.02)
    world: SimulatedWorld = field(init=False)
    system: SystemUnderTest = field(init=False)
    oracle: Oracle = field(init=False)
    said: dict[tuple[str, bytes | None, bytes | None], RawMessage] = field(default_factory=dict)
    heard: dict[TopicPartition, int] = field(default_factory=dict)
    snapshot_ends: SnapshotEnds = field(default_factory=SnapshotEnds)
    expected: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: dict[str, Reserve] = field(default_factory=dict)
    versions: dict[str, tuple[int, Any]] = field(default_factory=dict)
    short: dict[invariants.Where, Decimal] = field(default_factory=dict)
    needs: dict[tuple[str, int], int] = field(default_factory=dict)
    days: dict[str, Any] = field(default_factory=dict)
    messages: int = 0

    def __post_init__(self) -> None:
        self.flows = partial(breakable, self.flows)
        self.world = self.new_world()
        dice = Random(self.seed ^ 0x5EED)  # noqa: S311 - seeded mishaps
        late = {site: dice.randint(0, 3) for site in self.world.sites if dice.random() < 0.2}
        erp_sites = self.world.erp_sites
        sites = {s: SitePolicy("erp" if s in erp_sites else "wms", late.get(s)) for s in self.world.sites}
        self.system = self.new_system(dice, Policy(sites=sites))
        self.oracle = Oracle(erp_sites, late)

    def new_world(self) -> SimulatedWorld:
        """The world of the seed."""
        return SimulatedWorld(self.seed)

    def new_system(self, dice: Random, policy: Policy) -> SystemUnderTest:
        """The system under test, with the mishaps of the seed."""
        rate = dice.choice(self.rates)
        faults = LogFaults(
            before_commit=rate, after_commit=rate, before_append=rate, after_append=rate, unavailable=rate, reassign=rate / 4,
            small_batch=dice.choice((0.0, 0.2)), delay=dice.choice((0.0, 0.2)), interleave=dice.random() < 0.5,
        )  # fmt: skip
        return SystemUnderTest(
            dice, policy, _codec(), faults, crash=rate, workers_wanted=dice.choice((1, 1, 2)), flows=self.flows
        )

    def play(self) -> Iterable[Any]:
        """Its history."""
        return play(self.world, _View(self))

    @property
    def committed(self) -> CommittedState:
        """What can be seen of the system under test, also after a restart."""
        return CommittedState(self.system.log, self.system.codec, self.system.policy)

    def go(self) -> SimulationReport:
        """Play the whole history; stop at the first step after which something is wrong."""
        steps = 0
        for step in self.play():
            steps += 1
            wrong = self.take(step)
            if wrong:
                return self._report(steps, f"step {steps} ({step.label})", wrong)
        try:
            wrong = [*self.settle(), *self._probe(), *self.at_the_end()]
        except (NeverRests, PartitionHalted) as error:
            wrong = [str(error)]
        return self._report(steps, "at the end", wrong)

    def close(self) -> None:
        """Let go of what the run holds."""

    def take(self, step: Any) -> list[str]:
        """Deliver a step, and see whether all is well."""
        system = self.system
        system.now_ms = self.oracle.now_ms = step.now_ms
        for message in step.messages:
            self.said[message.topic, message.key, message.value] = message
        try:
            self.deliver(step)
        except (NeverRests, PartitionHalted) as error:
            return [str(error)]
        told = self.tell()
        return [*self.acknowledge(), *self.check(told)]

    def deliver(self, step: Any) -> None:
        """Bring in what a step says, and leave the system to come to rest."""
        system = self.system
        system.step_clock(0.1)
        system.tick()
        system.send(step.messages)
        for command in step.commands:
            self.ask(command)
        system.rest()
        system.right_clock()

    def ask(self, command: Reserve | ReservationRelease) -> None:
        """A channel's request."""
        if isinstance(command, Reserve):
            self.asked[request_id(command)] = command
        self.system.command(command)

    def settle(self) -> list[str]:
        """After the history: whatever has to come to its end does."""
        return []

    # --- the oracle hears what the log holds -----------------------------------------------------------------------------

    def tell(self) -> list[Fact]:
        """Tell the oracle every raw message the log took since it was last told. Returns what was new to it."""
        new: list[Fact] = []
        for partition in self.system.inputs():
            if not partition.topic.startswith("raw."):
                continue
            records = self.system.log.read(partition, self.heard.get(partition, 0), ALL)
            self.heard[partition] = self.heard.get(partition, 0) + len(records)
            for record in records:
                self.messages += 1
                message = self.said[record.topic, record.key, record.value]
                fate = message.fate
                if message.fact is not None and self.oracle.tell(message.fact) == "applied":
                    new.append(message.fact)
                elif message.fact is not None and record.topic == topics.RAW_WMS.name:
                    fate = "duplicate"  # the other sources' repetitions are told in the folds
                count, unseen = self.system.log.partitions(record.topic), self.world.erp.unseen.values()
                new += [
                    gone
                    for gone in self.snapshot_ends.gone(partition, count, message, unseen)
                    if self.oracle.tell(gone) == "applied"
                ]
                counts = self.expected.setdefault(record.topic, {})
                counts[fate] = counts.get(fate, 0) + 1
        return new

    def acknowledge(self) -> list[str]:
        """Tell the oracle which requests were granted: an acknowledgement is a promise from then on."""
        wrong = []
        known = {hold.reservation_id for hold in self.oracle.holds}
        released = {release.reservation_id for release in self.oracle.releases}
        answers: dict[str, Reply] = {}
        for reply in self.committed.replies():
            first = answers.setdefault(reply.request_id, reply)
            if (first.status, first.body) != (reply.status, reply.body):
                wrong.append(f"request {reply.request_id} was answered twice, differently: {first.body} and {reply.body}")
        for name, reply in answers.items():
            command = self.asked.get(name)
            if command is None:
                if reply.status == 200 and (given_back := name.removeprefix("release ")) not in released:
                    self.oracle.hold(ReleaseFact(given_back))
            elif reply.status == 201 and name not in known:
                body = json.loads(reply.body, parse_float=Decimal, parse_int=Decimal)
                sites = {part["site"]: part["qty"] for part in body["sites"]}
                is_elsewhere = command.site is not None and set(sites) != {command.site}
                if (body["item"], body["qty"], sum(sites.values())) != (command.item, command.qty, command.qty) or is_elsewhere:
                    wrong.append(f"reservation {name} was granted otherwise than asked for: {reply.body}")
                expires_ms = self.system.now_ms + command.ttl_ms
                self.oracle.hold(HoldFact(name, command.item, sites, command.qty, expires_ms))
        unanswered = sorted(self.asked.keys() - answers.keys())
        return wrong + [f"request {name} was not answered" for name in unanswered]

    # --- checks --------------------------------------------------------------------------------------------------------

    def check(self, told: list[Fact]) -> list[str]:
        """Everything that is wrong now. `told`: what was new since the last time."""
        system, oracle = self.committed, self.oracle
        promises = invariants.promised(system)
        wrong = invariants.at_rest(oracle, system, promises)
        takers = invariants.takers(oracle, told, self._new_days()) | invariants.unexpected_picks(oracle, told, self.needs)
        wrong += invariants.oversold(oracle, system, promises, self.short, takers)
        self.short = invariants.shortfalls(oracle, promises)
        self.needs = {(order_id, line): demand.need_day for (_, order_id, line), demand in system.promise("demands")}
        return [*wrong, *self._versions(system), *self._fates(), *self._stands(system), *waits(oracle, system)]

    def _stands(self, system: CommittedState) -> list[str]:
        """Nothing stands once a person has seen to it, and nobody is told that it does."""
        standing = [row.fingerprint for row in system.exceptions().values() if row.code in ("halted", "source_paused")
                    and row.state in ("open", "assigned")]  # fmt: skip
        return [*self._seen_to(), *(f"{name} is told of, though it goes on" for name in standing)]

    def _seen_to(self) -> list[str]:
        """What was wrong with what stood, when a person saw to it."""
        found, self.system.operator.wrong = self.system.operator.wrong, []
        return found

    def _new_days(self) -> set[str]:
        """Sites where another day has begun since the last step."""
        before, self.days = self.days, {site: self.oracle.today(site) for site in self.world.sites}
        return {site for site, day in self.days.items() if before.get(site) != day}

    def _versions(self, system: CommittedState) -> list[str]:
        """I4: another answer has a higher version, the same version the same answer."""
        wrong = []
        published: list[tuple[str, Any]] = [*system.atp().items(), *system.order_status().items()]
        for name, row in published:
            held = self.versions.get(name)
            content = replace(row, version=0)
            if held is not None and (row.version < held[0] or (row.version == held[0] and content != held[1])):
                wrong.append(f"{name} was published as version {held[0]}, then otherwise as version {row.version}")
            self.versions[name] = (row.version, content)
        return wrong

    def _fates(self) -> list[str]:
        """I1: every message has one fate, and it is the one the oracle expects."""
        found: dict[str, dict[str, int]] = {}
        wrong = []
        refused = 0
        for flow, partition, fates in self.fates():
            end = self.system.log.bounds(partition)[1]
            if fates.inputs != end:
                wrong.append(f"{flow} accounts for {fates.inputs} of {end} messages of {partition.topic}/{partition.partition}")
            if not partition.topic.startswith("raw."):
                refused += fates.dead_lettered
                continue
            counts = found.setdefault(partition.topic, {})
            kinds = {"applied": fates.applied, "duplicate": fates.duplicate, "ignored": fates.ignored}
            for kind, count in (kinds | {"dead-lettered": fates.dead_lettered}).items():
                if count:
                    counts[kind] = counts.get(kind, 0) + count
        expected = len(self.oracle.refused()) + self.refused_by_right()
        if refused != expected:
            wrong.append(f"{refused} events were refused, not {expected}: {self._letters()}")
        found = {topic: counts for topic, counts in found.items() if counts}
        return [*wrong, *invariants.compare("fates of", self.expected, found)]

    def fates(self) -> list[tuple[str, TopicPartition, InputFates]]:
        """What became of the inputs of every flow partition."""
        found = []
        flows = {topic.name: flow for flow in self.flows(self.system.policy) for topic in _read_by(flow)}
        for partition in self.system.inputs():
            flow = flows[partition.topic]
            store = self.system.log.store(store_id(flow, partition))
            rows = EngineTable[tuple[str], InputFates](NAMESPACE + "fates", (str,), InputFates, store, Journal())
            found.append((flow.name, partition, rows.get(ONE) or InputFates()))
        return found

    def refused_by_right(self) -> int:
        """How many commands were refused because what they were about was over."""
        return 0

    def _letters(self) -> str:
        letters = [letter for letter in self.committed.records(topics.DEAD_LETTERS) if not letter.topic.startswith("raw.")]
        return "; ".join(f"{letter.flow}: {letter.reason}" for letter in letters[:3])

    def _probe(self) -> list[str]:
        """The number published is the number granted, at a site and in all: all of it to the one who asks first, and no more."""
        system, wrong, asked = self.system, [], []
        published = sorted(self.committed.atp().items())
        found: list[tuple[str, str | None, int, int]] = []
        for item, atp in published:
            least = 1 if atp.uom == "KG" else 1_000
            found += [(item, site.site, site.promise_milli, least) for site in atp.sites]
            found += [(item, None, atp.promise_milli, least)]
        probes = {probe[0]: probe for probe in system.dice.sample(found, min(len(found), 3))}  # one of an item
        for item, site, milli, least in probes.values():
            for name, qty in ((f"all {item} {site}", milli), (f"more {item} {site}", least)):
                if qty:
                    command = Reserve(name, item, site, "web", units(qty), HOUR_MS)
                    missing = 404 if self.committed.atp()[item].item_status in ("unknown", "deleted") else 409
                    asked.append((command, 201 if name.startswith("all") else missing))
                    self.asked[name] = command
                    system.command(command)
        system.rest()
        wrong += self.acknowledge()
        answers = {reply.request_id: reply for reply in self.committed.replies()}
        for command, status in asked:
            reply = answers[command.reservation_id]
            if reply.status != status:
                wrong.append(f"a reservation of {command.qty} {command.item} at {command.site} got {reply.status}: {reply.body}")
        return [*wrong, *self.check([])]

    def at_the_end(self) -> list[str]:
        """I5: everything again changes no row. Nothing waits for a fact that has come."""
        wrong = [
            f"{flow} still has {fates.parked} events of {at.topic} parked"
            for flow, at, fates in self.fates()
            if fates.parked and flow != topics.PROMISE
        ]
        wrong += self._folded_again()
        before = self.rows()
        raw = [at for at in self.system.inputs() if at.topic.startswith("raw.")]
        records = [record for at in raw for record in self.system.log.read(at, 0, ALL)]
        again = [self.said[record.topic, record.key, record.value] for record in records]
        erp = self.world.erp
        old = {id(m) for m in self.world.delivered} if erp.histories > 1 else set()  # no connector repeats another's history
        again = [m for m in again if erp.histories == 1 or not m.topic.startswith("raw.erp.") or id(m) in old]
        self.system.send(message for message in again if message.fate != "dead-lettered")
        self.system.rest()
        return [*wrong, *invariants.compare("after everything was sent again, row", before, self.rows())]

    def _folded_again(self) -> list[str]:
        """I3: the rows of each flow partition are what folding its inbox from the start makes."""
        system = self.system
        wrong: list[str] = []
        controls = read_controls(system.log, system.codec)
        flows = {topic.name: flow for flow in self.flows(system.policy) for topic in _read_by(flow)}
        for at in system.inputs():
            records = system.log.read(at, 0, ALL)
            if not records:
                continue
            again = open_partition(flows[at.topic], at, MemoryStore(), system.log, system.codec, Limits(), controls)
            again.apply(records)
            folded = {key: row for key, row in again.changes() if row is not None and is_state(key)}
            live = {k: v for k, v in system.log.store(store_id(flows[at.topic], at)).range(b"", None) if is_state(k)}
            wrong += invariants.compare(f"{again.flow} {at.topic}/{at.partition}, folded again, row", folded, live)
        return wrong

    def rows(self) -> dict[tuple[str, int, bytes], bytes]:
        """Every row of every flow, but for the engine's own."""
        found = {}
        flows = {topic.name: flow for flow in self.flows(self.system.policy) for topic in _read_by(flow)}
        for at in self.system.inputs():
            for key, value in self.system.log.store(store_id(flows[at.topic], at)).range(b"", None):
                if not key.startswith(NAMESPACE.encode()):
                    found[at.topic, at.partition, key] = value
        return found

    def _published(self) -> list[Any]:
        """Every record the flows wrote."""
        log = self.system.log
        places = [TopicPartition(t.name, i) for t in topics.DEFINED if not t.is_raw for i in range(t.partitions)]
        return [(at, r.key, r.value, r.headers) for at in places for r in log.read(at, 0, ALL)]

    def _report(self, steps: int, where: str, wrong: list[str]) -> SimulationReport:
        fates = [fates for _, _, fates in self.fates()]
        digest = hashlib.sha256(repr((sorted(self.rows().items()), self._published())).encode()).hexdigest()[:16]
        return SimulationReport(
            self.seed, steps, self.messages, sum(f.inputs for f in fates), sum(f.duplicate for f in fates),
            sum(f.dead_lettered for f in fates), self.system.crashes, where if wrong else None, tuple(wrong), digest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _View:
    """What the world's people see, whichever process serves them now."""

    run: SimulationRun

    def open_lines(self) -> list[Any]:
        return self.run.committed.open_lines()

    def alive_reservations(self) -> list[tuple[str, str]]:
        return self.run.committed.alive_reservations()


def _read_by(flow: Any) -> Iterable[topics.Topic]:
    return (flow.inbox,) if hasattr(flow, "inbox") else flow.topics
