"""What the systems share: exact quantities, chance that follows from a seed, refusals, and answers kept by key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Annotated, Any, TypeVar

import msgspec

from infra.sandbox.store import Rows

T = TypeVar("T")
MILLI = 1000
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_NUMBER = re.compile(r"[0-9]{1,11}(\.[0-9]{1,3})?")


class RequestRefused(Exception):
    """The system understood, and will not: the sentence says why."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """An HTTP answer: its status, its JSON."""

    status: int
    body: dict[str, Any]


def answered(answers: Rows[HttpAnswer], key: str, work: Callable[[], HttpAnswer]) -> HttpAnswer:
    """Do the work once for each idempotency key; the same key again gets the first answer, refusals too."""
    if not key:
        return HttpAnswer(400, {"reason": "The header Idempotency-Key is missing."})
    held = answers.get(key)
    if held is not None:
        return held
    answer = attempted(work)
    answers.put(key, answer)
    return answer


def attempted(work: Callable[[], HttpAnswer]) -> HttpAnswer:
    """The answer, or 422 and the reason."""
    try:
        return work()
    except RequestRefused as refusal:
        return HttpAnswer(422, {"reason": str(refusal)})


def read(kind: type[T], body: Any) -> T:
    """The body as its type. Raises `RequestRefused` naming the field."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestRefused(f"The body is not as agreed: {error}.") from None


def milli(text: str) -> int:
    """A quantity as thousandths of the base unit. Raises `RequestRefused`."""
    if not _NUMBER.fullmatch(text):
        raise RequestRefused(f"Quantity {text[:40]!r} is not a number with at most three decimals.")
    return int(Decimal(text).scaleb(3))


def plain(qty: int) -> str:
    """As people write it: 24000 -> "24", 2211 -> "2.211"."""
    return f"{fixed(qty)}".rstrip("0").rstrip(".")


def fixed(qty: int) -> str:
    """As a database column of three decimals has it: 24000 -> "24.000"."""
    return f"{qty // MILLI}.{qty % MILLI:03d}"


def iso(at_ms: int) -> str:
    """An instant in UTC, with microseconds."""
    whole, rest = divmod(at_ms, MILLI)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}000Z"


@dataclass(frozen=True, slots=True)
class Dice:
    """Chance without a memory: what happens to a thing follows from the seed and the thing, after a restart too."""

    seed: int
    system: str

    def of(self, *what: str | int) -> Random:
        """The dice thrown for something."""
        return Random(f"{self.seed}/{self.system}/{'/'.join(map(str, what))}")  # noqa: S311 - a game, no secret

    def hits(self, share: float, *what: str | int) -> bool:
        """Whether this is one of the share of things that something happens to."""
        return share > 0 and self.of(*what).random() < share

    def delay_ms(self, mean_ms: int, *what: str | int) -> int:
        """How long something takes: between half the mean and one and a half."""
        return int(mean_ms * (0.5 + self.of("delay", *what).random()))
