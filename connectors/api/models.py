"""What requests carry, as pydantic models: parsed at the edge, quantities exact (thousandths inside)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from connectors.api.problems import UNKNOWN_FIELD
from connectors.edge import Name
from connectors.texts import NOTE_PATTERN, unknown
from schemas.errors import BadMessage
from schemas.quantity import parse_milli

MAX_DAYS = 180
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
_MOST = 10**12


def _quantity_schema(text: str, **bounds: int) -> dict[str, Any]:
    return {
        "anyOf": [
            {"type": "number", "multipleOf": 0.001, "maximum": _MOST, **bounds},
            {"type": "string", "pattern": text},
        ],
        "description": "Base units (or the unit named), at most three decimals; text keeps it exact everywhere.",
        "examples": [24, "2.211"],
    }


_DIGITS = r"[0-9]{1,12}(\.[0-9]{1,3})?$"


def quantity(value: Any) -> int:
    """Thousandths of a quantity written as an integer, a decimal number or text. Raises `ValueError` in a person's words."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError('a quantity is a number or text, like 24 or "2.5"')
    try:
        return parse_milli(value, "quantity")
    except BadMessage as error:
        raise ValueError(f"{error.reason}; {error.hint}") from None


def _positive(milli: int) -> int:
    if milli <= 0:
        raise ValueError("a quantity wanted is above 0")
    return milli


def _not_negative(milli: int) -> int:
    if milli < 0:
        raise ValueError("this quantity is not below 0")
    return milli


def _whole(value: Any) -> Any:
    """1.0 is a whole number, in JSON too."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value


def _iso_day(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != 10:
        raise ValueError("a day is text, like 2026-11-05")
    return value


_ANY = _quantity_schema(f"^-?{_DIGITS}", minimum=-_MOST)
_ABOVE = _quantity_schema(f"^(?=.*[1-9]){_DIGITS}", exclusiveMinimum=0)
_FROM = _quantity_schema(f"^{_DIGITS}", minimum=0)
Quantity = Annotated[int, BeforeValidator(quantity), WithJsonSchema(_ANY)]
Wanted = Annotated[int, BeforeValidator(lambda v: _positive(quantity(v))), WithJsonSchema(_ABOVE)]
Unsigned = Annotated[int, BeforeValidator(lambda v: _not_negative(quantity(v))), WithJsonSchema(_FROM)]
_DAY = {"type": "string", "format": "date", "pattern": r"^2[01][0-9]{2}-", "examples": ["2026-11-05"]}
Day = Annotated[date, BeforeValidator(_iso_day), Field(ge=FIRST_DAY, le=LAST_DAY), WithJsonSchema(_DAY)]
_AS_WHOLE = BeforeValidator(_whole)
Note = Annotated[str, StringConstraints(max_length=2_000, pattern=NOTE_PATTERN, strict=True)]
DayIndex = Annotated[str, StringConstraints(pattern=r"^\d{1,3}$")]


class _In(BaseModel):
    """A JSON object, all of whose fields are known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        # FastAPI validates by attributes too: without this any number would be a body of which nothing is given.
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise ValueError("a JSON object is needed here, like {...}")
        for name in value:
            if name not in cls.model_fields:
                sentence = unknown("field", str(name), cls.model_fields)
                raise PydanticCustomError(UNKNOWN_FIELD, "{sentence}", {"sentence": sentence, "name": str(name)[:60]})
        return value


class CheckLineIn(_In):
    """A wish of a cart or a quotation."""

    item: Name
    qty: Wanted
    uom: Name | None = None
    site: Name | None = None
    date: Day | None = None


class CheckIn(_In):
    """Lines that are wanted together."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"channel": "web", "lines": [{"item": "00010000", "qty": 3, "date": "2026-12-01"}]}]}
    )
    lines: list[CheckLineIn] = Field(min_length=1, max_length=500)
    channel: Name | None = None


class CalculateIn(_In):
    """The inputs of the formula, by day index from 0."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"policy": "lookahead", "days": 7, "opening": 20, "supply": {"2": 10}, "demand": {"0": 3}}],
        }
    )
    policy: Name
    days: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS), _AS_WHOLE]
    opening: Quantity
    safety_stock: Unsigned = 0
    supply: dict[DayIndex, Quantity] = Field(default_factory=dict, max_length=MAX_DAYS)
    demand: dict[DayIndex, Quantity] = Field(default_factory=dict, max_length=MAX_DAYS)

    @model_validator(mode="after")
    def _inside(self) -> CalculateIn:
        for name, by_day in (("supply", self.supply), ("demand", self.demand)):
            for index in by_day:
                if int(index) >= self.days:
                    raise ValueError(f"{name} names day {index}, but the last of {self.days} days is {self.days - 1}")
        return self

    def by_day(self, quantities: dict[str, int]) -> list[int]:
        """Thousandths for each day."""
        series = [0] * self.days
        for index, milli in quantities.items():
            series[int(index)] += milli
        return series


class ReserveIn(_In):
    """A hold for a while."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "00010000", "qty": 2, "channel": "web", "ttl_s": 900}]})
    item: Name
    qty: Wanted
    uom: Name | None = None
    site: Name | None = None
    channel: Name
    ttl_s: Annotated[int, Field(strict=True, ge=1, le=7 * 86_400), _AS_WHOLE] = 900


class CancelIn(_In):
    """What to cancel: the whole order, or one line."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "customer changed their mind"}]})
    line: Annotated[int, Field(strict=True, ge=1, le=1_000_000), _AS_WHOLE] | None = None
    reason: Annotated[str, StringConstraints(max_length=500, pattern=NOTE_PATTERN, strict=True)] = ""


class ReleaseIn(_In):
    """Who lets the order go on, and in spite of which reason (all, if none is named)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"person": "dana", "reason": "credit_limit", "note": "paid today"}]}
    )
    person: Name
    reason: Name | None = None
    note: Note = ""


class AssignIn(_In):
    """Who takes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "dana"}]})
    person: Name


class ResolveIn(_In):
    """Who settled it, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "dana", "note": "counted again: 14 on the shelf"}]})
    person: Name
    note: Annotated[Note, StringConstraints(min_length=1)]


class ConfirmIn(_In):
    """Who confirms it, and why it is right."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "dana", "note": "compared with the time server"}]})
    person: Name
    note: Note = ""


class SkipIn(_In):
    """Which record, who had it skipped, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"record": "raw.wms/0/4711", "person": "dana", "reason": "corrected by hand at the site"}]
        }
    )
    record: Annotated[str, StringConstraints(pattern=r"^[a-z0-9._-]{1,200}/\d{1,9}/\d{1,18}$", strict=True)]
    person: Name
    reason: Annotated[Note, StringConstraints(min_length=1)]


class SettleIn(_In):
    """Which table of the ERP's, who says that its newest snapshot is over, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"table": "item_price", "person": "dana", "reason": "the connector streams since noon"}]}
    )
    table: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$", strict=True)]
    person: Name
    reason: Annotated[Note, StringConstraints(min_length=1)]


class ResumeIn(_In):
    """Which source, who had it resumed, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "wms", "person": "dana", "reason": "units corrected"}]})
    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9._-]{1,100}$", strict=True)]
    person: Name
    reason: Annotated[Note, StringConstraints(min_length=1)]
