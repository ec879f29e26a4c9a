"""How numbers, dates and letters of a file are read: as its folder declares, as the file shows, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.layout import PLAIN, UNDECLARED, Layout, decoded, is_ended, layout_of
from connectors.files.orders_csv.translate import report, translate
from schemas.errors import BadMessage
from schemas.records import Record

GERMAN, AMERICAN = Layout(decimal=","), Layout(decimal=".")
REFUSED = "refused"


def number(layout: Layout, text: str) -> str:
    try:
        return layout.number("qty", text)
    except BadMessage as error:
        assert error.hint
        return REFUSED


@pytest.mark.parametrize(
    ("text", "german", "american", "undeclared"),
    [
        ("1", "1", "1", "1"),
        ("1000", "1000", "1000", "1000"),
        ("-5", "-5", "-5", "-5"),
        ("1.000", "1000", "1.000", REFUSED),
        ("1,000", "1.000", "1000", REFUSED),
        ("2,5", "2.5", REFUSED, REFUSED),
        ("2.5", REFUSED, "2.5", "2.5"),
        ("12.50", REFUSED, "12.50", "12.50"),
        ("0.125", REFUSED, "0.125", "0.125"),
        ("1.234.567", "1234567", REFUSED, REFUSED),
        ("1.234,5", "1234.5", REFUSED, REFUSED),
        ("1,234.5", REFUSED, "1234.5", REFUSED),
        ("1.23.456", REFUSED, REFUSED, REFUSED),
        ("1234.567", REFUSED, "1234.567", "1234.567"),
        ("1 000", REFUSED, REFUSED, REFUSED),
        ("two", "two", "two", "two"),  # the order's own check says that it is not a number
        ("1e3", "1e3", "1e3", "1e3"),
    ],
)
def test_a_number_is_read_in_one_way_or_refused(text: str, german: str, american: str, undeclared: str) -> None:
    assert [number(layout, text) for layout in (GERMAN, AMERICAN, UNDECLARED)] == [german, american, undeclared]


def test_thousands_are_grouped_as_declared() -> None:
    assert number(Layout(",", " "), "1 234 567,5") == "1234567.5"
    assert number(Layout(",", " "), "1\u00a0234,5") == "1234.5"
    assert number(Layout(".", "'"), "1'234.5") == "1234.5"
    assert number(Layout(",", ""), "1.000") == REFUSED
    assert number(PLAIN, "1,000") == REFUSED


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["1.000", "12.50"], "."),
        (["1.000", "0.125"], "."),
        (["1.000", "2,5"], ""),
        (["1.000", "12.50", "2,5"], ""),
        (["1.000"], ""),
        (["1.000", "1.000.000"], ""),
        (["7"], ""),
    ],
)
def test_a_file_may_show_what_its_point_means(cells: list[str], says: str) -> None:
    assert UNDECLARED.shown_by(cells).decimal == says
    assert GERMAN.shown_by(cells) is GERMAN


@given(st.integers(-(10**9), 10**9), st.integers(0, 3))
def test_written_and_read_it_is_the_same_number(thousandths: int, digits: int) -> None:
    """As people of each country write it, grouped or not; and what nobody declared is never read as another number."""
    value = Decimal(thousandths).scaleb(-digits)
    for grouped in (f"{value:,f}", f"{value:f}"):
        assert Decimal(AMERICAN.number("qty", grouped)) == value
        swapped = grouped.translate(str.maketrans(".,", ",."))
        assert Decimal(GERMAN.number("qty", swapped)) == value
        for text in (grouped, swapped):
            assert number(UNDECLARED, text) == REFUSED or Decimal(number(UNDECLARED, text)) == value


@pytest.mark.parametrize(
    ("layout", "text", "day", "instant"),
    [
        (UNDECLARED, "2026-11-29", "2026-11-29", "2026-11-29"),
        (UNDECLARED, "29.11.2026", REFUSED, REFUSED),
        (UNDECLARED, "11/12/2026", REFUSED, REFUSED),
        (Layout(dates="dmy"), "29.11.2026", "2026-11-29", "2026-11-29"),
        (Layout(dates="dmy"), "3/4/2026", "2026-04-03", "2026-04-03"),
        (Layout(dates="mdy"), "3/4/2026", "2026-03-04", "2026-03-04"),
        (Layout(dates="dmy"), "11/29/2026", REFUSED, REFUSED),
        (Layout(dates="dmy"), "29.11.26", REFUSED, REFUSED),
        (Layout(dates="dmy"), "2026-11-29", "2026-11-29", "2026-11-29"),
        (Layout(dates="dmy", timezone="Europe/Berlin"), "29.11.2026 9:05", "2026-11-29", "2026-11-29T09:05:00+01:00"),
        (Layout(dates="mdy", timezone="America/Chicago"), "07/04/2026", "2026-07-04", "2026-07-04T00:00:00-05:00"),
        (Layout(dates="dmy", timezone="Europe/Berlin"), "29.11.2026 09:05Z", "2026-11-29", "2026-11-29T09:05:00Z"),
    ],
)
def test_a_date_is_read_in_one_way_or_refused(layout: Layout, text: str, day: str, instant: str) -> None:
    def read(function: object) -> str:
        try:
            return str(function("placed_at", text))  # type: ignore[operator]
        except BadMessage:
            return REFUSED

    assert (read(layout.day), read(layout.instant)) == (day, instant)


def test_a_record_carries_its_layout() -> None:
    for layout in (UNDECLARED, PLAIN, GERMAN, Layout(",", "", "dmy", "Europe/Berlin"), Layout(".", "\u2019", "mdy")):
        assert layout_of(layout.to_header()) == layout


HEAD = "order;customer;placed_at;line;item;qty;unit_price;currency\r\n"


def test_letters_are_read_as_declared_or_marked() -> None:
    text = HEAD + "Grüße\r\n"
    for data, encoding in (
        (text.encode(), None),
        (text.encode("utf-8-sig"), None),
        (text.encode("utf-8-sig"), "cp1252"),
        (text.encode("utf-16"), None),
        (text.encode("utf-16-be"), "utf-16-be"),
        (text.encode("cp1252"), "cp1252"),
    ):
        assert decoded(data, encoding) == text
        assert is_ended(data)
        assert not is_ended(data.rstrip(b"\0\r\n"))
    for data, encoding in ((text.encode("cp1252"), None), (text.encode("utf-16-le"), None), (text.encode(), "cp1252")):
        with pytest.raises(BadMessage) as error:
            decoded(data, encoding)
        assert error.value.hint


def german_file() -> bytes:
    rows = [
        "P1;C1;2026-11-29T09:00:00+01:00;1;A;1;12,50;EUR",
        "P2;C1;2026-11-29T09:00:00+01:00;1;A;1.000;;",
        "P3;C1;2026-11-29T09:00:00+01:00;1;B;2,5;;",
    ]
    return (HEAD + "\r\n".join(rows) + "\r\n").encode("utf-8-sig")


def test_numbers_as_written_in_germany_are_right_or_refused_row_by_row() -> None:
    """A thousand never becomes one: declared, all three orders are; undeclared, none is."""
    found = report(german_file(), "raw.channel.edi", 1_795_950_000_000)
    assert [(row.order, row.outcome) for row in found.rows] == [("P1", "refused"), ("P2", "refused"), ("P3", "refused")]
    assert all("decimal =" in row.reason for row in found.rows)
    found = report(german_file(), "raw.channel.edi", 1_795_950_000_000, GERMAN)
    assert [(row.order, row.outcome) for row in found.rows] == [("P1", "taken"), ("P2", "taken"), ("P3", "taken")]
    headers = (("crossdock.layout", found.layout.to_header()),)
    events = [
        translate(Record("raw.channel.edi", 0, n, 1_795_950_000_000, None, order.text, headers)).events[0]
        for n, order in enumerate(found.orders)
    ]
    assert [event.lines[0].qty_milli for event in events] == [1_000, 1_000_000, 2_500]
    assert str(events[0].lines[0].unit_price) == "12.50"
