"""How a customer writes its files: numbers, dates, encoding. Declared for each folder, never guessed value by value.

`1.000` is one in Chicago and a thousand in Hamburg. Where nothing is declared, the file itself may show what its point means
(`12.50` or `0.125` elsewhere in it: a decimal point); if it does not, such a number is refused with a sentence that says what to
declare. A record on the raw topic carries its layout in a header, so that it means the same whenever it is read again.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from schemas.errors import BadMessage

HEADER = "crossdock.layout"
Dates = Literal["iso", "dmy", "mdy", "ymd"]
SPACES = (" ", "\u00a0", "\u202f")
_PLAIN = re.compile(r"[+-]?[0-9]+", re.ASCII)
_POINT = re.compile(r"[+-]?[0-9]+\.[0-9]+", re.ASCII)
_LIKE_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+", re.ASCII)
_NUMERIC = re.compile(r"[+-]?[0-9.,'\u2019 \u00a0\u202f]*[0-9]", re.ASCII)
_DAY = re.compile(
    r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?\s*(Z|[+-]\d{2}:\d{2})?", re.ASCII
)
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NAMES = ("decimal", "thousands", "dates", "timezone")


@dataclass(frozen=True, slots=True)
class Layout:
    """How cells are to be read. `decimal`: the decimal mark, "" while nobody has said and the file does not show it.

    `thousands`: what groups digits, none: the other one of point and comma. `timezone`: of times without a zone of their own.
    """

    decimal: str = "."
    thousands: str | None = None
    dates: Dates = "iso"
    timezone: str | None = None

    def number(self, name: str, text: str) -> str:
        """A number as plain digits with a point. Raises `BadMessage` for one that can be read in two ways, or in none."""
        if _PLAIN.fullmatch(text) or not _NUMERIC.fullmatch(text):
            return text  # what is not a number at all, the order's own check refuses
        if not self.decimal:
            if _LIKE_GROUPS.fullmatch(text) or not _POINT.fullmatch(text):
                raise _ambiguous(name, text)
            return text
        groups = self._groups()
        grouped = f"|(?P<grouped>[1-9][0-9]{{0,2}}(?P<mark>{groups})[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*)" if groups else ""
        rest = f"(?:{re.escape(self.decimal)}(?P<rest>[0-9]+))?"
        found = re.fullmatch(f"(?P<sign>[+-]?)(?:(?P<plain>[0-9]+){grouped}){rest}", text, re.ASCII)
        if found is None:
            raise BadMessage(
                f"{name} {text[:40]!r} is not a number with {self.decimal!r} as its decimal mark",
                hint="correct the number, or the decimal and thousands marks that the folder's settings declare",
            )
        parts = found.groupdict()
        digits = re.sub(r"[^0-9]", "", parts["plain"] or parts["grouped"])
        return parts["sign"] + digits + (f".{parts['rest']}" if parts["rest"] else "")

    def _groups(self) -> str:
        """What may group digits, as a part of an expression."""
        if self.thousands == "":
            return ""
        marks = [self.thousands] if self.thousands else [{".": ",", ",": "."}[self.decimal]]
        if marks[0] == " ":
            marks = list(SPACES)
        return "|".join(re.escape(mark) for mark in marks)

    def instant(self, name: str, text: str) -> str:
        """A point in time as ISO 8601 with its zone, a day as it is. Raises `BadMessage` for one that can be read in two ways."""
        return self._dated(name, text, is_day=False)

    def day(self, name: str, text: str) -> str:
        """A day as ISO 8601. Raises `BadMessage` for one that can be read in two ways."""
        return self._dated(name, text, is_day=True)

    def _dated(self, name: str, text: str, *, is_day: bool) -> str:
        found = _DAY.fullmatch(text)
        if found is None:
            return text  # ISO 8601 in another of its forms, or what the order's own check refuses
        is_iso = _ISO_DAY.match(text) is not None
        if not is_iso and self.dates == "iso":
            raise BadMessage(
                f"{name} {text[:40]!r} does not say which part is the day and which the month",
                hint='write it like 2026-11-05, or declare dates = "dmy" (or "mdy", "ymd") in the folder\'s settings',
            )
        parts = dict(zip("ymd" if is_iso else self._order(), found.groups()[:3], strict=True))
        if len(parts["y"]) != 4:
            raise BadMessage(f"{name} {text[:40]!r} has no year of four digits", hint="write the year in full, like 2026")
        hour, minute, second = (int(part or 0) for part in found.groups()[3:6])
        year, month, day = (int(parts[part]) for part in "ymd")
        try:
            at = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - its zone is found below
        except ValueError:
            raise BadMessage(
                f"{name} {text[:40]!r} is not a date", hint=f"the folder's dates are {self.dates}: check both"
            ) from None
        if is_day:
            return text if is_iso else at.date().isoformat()
        zone = found[7] or (_offset(at, self.timezone) if self.timezone is not None else "")
        if zone or found[4]:
            return at.isoformat() + zone
        return at.date().isoformat()

    def _order(self) -> str:
        return "ymd" if self.dates == "iso" else self.dates

    def shown_by(self, numbers: Iterable[str]) -> Layout:
        """The layout of a file that has these numbers: what its point means, if nobody declared it and the file shows it."""
        if self.decimal:
            return self
        is_decimal = is_grouping = False
        for text in numbers:
            is_decimal |= bool(_POINT.fullmatch(text)) and not _LIKE_GROUPS.fullmatch(text)
            is_grouping |= "," in text or text.count(".") > 1
        return replace(self, decimal="." if is_decimal and not is_grouping else "")

    def to_header(self) -> bytes:
        """The layout as a record carries it."""
        marks = [(name, getattr(self, name)) for name in _NAMES]
        return "\n".join(f"{name}={value}" for name, value in marks if value is not None).encode()


PLAIN = Layout(thousands="")
UNDECLARED = Layout(decimal="")


def layout_of(header: bytes) -> Layout:
    """The layout a record carries."""
    found = dict(line.partition("=")[::2] for line in header.decode(errors="replace").split("\n"))
    orders: tuple[Dates, ...] = get_args(Dates)
    return Layout(
        decimal=found.get("decimal", "."),
        thousands=found.get("thousands"),
        dates=next((order for order in orders if order == found.get("dates")), "iso"),
        timezone=found.get("timezone"),
    )


def decoded(data: bytes, encoding: str | None) -> str:
    """A file's text. Raises `BadMessage` if it is not what is declared, or nothing is and it is not UTF-8.

    A byte order mark says what a file is, whatever is declared.
    """
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return _decoded(data, name)
    if encoding is None:
        return _decoded(data, "utf-8")
    if codecs.lookup(encoding).name not in {"utf-8", "ascii"} and not data.isascii() and _is_utf8(data):
        raise BadMessage(
            f"the file is UTF-8, and its folder declares {encoding}", hint='save it as declared, or declare encoding = "utf-8"'
        )
    return _decoded(data, encoding)


def is_ended(data: bytes) -> bool:
    """Whether a file's last line is written to its end, in any encoding."""
    return data.rstrip(b"\0")[-1:] in (b"\n", b"\r")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        place = f"byte 0x{data[error.start]:02x} at {error.start}" if error.start < len(data) else "its end"
        shown = {"utf-8-sig": "UTF-8", "utf-8": "UTF-8"}.get(encoding, encoding)
        raise BadMessage(
            f"the file is not {shown}: {place}",
            hint='save it as UTF-8, or declare its encoding in the folder\'s settings, like encoding = "cp1252"',
        ) from None
    if "\0" in text:
        raise BadMessage("the file has NUL characters", hint='if it is UTF-16 without a mark, declare encoding = "utf-16-le"')
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _offset(at: datetime, timezone: str) -> str:
    seconds = round((at.replace(tzinfo=ZoneInfo(timezone)).utcoffset() or at - at).total_seconds())
    sign, minutes = ("-", -seconds // 60) if seconds < 0 else ("+", seconds // 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


def _ambiguous(name: str, text: str) -> BadMessage:
    return BadMessage(
        f"{name} {text[:40]!r} can be read in more than one way, and nobody has said what point and comma mean in this file",
        hint='declare decimal = "," or decimal = "." in the folder\'s settings and drop the file again, or write plain digits',
    )
