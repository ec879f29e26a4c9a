"""Any record comes back from its encoding as it was, alone and in a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Record
from streams.engine.embedded.records_codec import decode, decode_run, encode_body, pack_head, timestamp_of
from streams.engine.log import Outgoing

outgoing = st.builds(
    Outgoing,
    st.just("t"),
    st.just(3),
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=40),
    st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=10)), max_size=4).map(tuple),
    st.integers(-(2**62), 2**62),
)


def encoded(record: Outgoing, offset: int) -> bytes:
    length, flags, body = encode_body(record)
    return pack_head(offset, record.timestamp_ms or 0, length, flags) + body


def expected(record: Outgoing, offset: int) -> Record:
    return Record("t", 3, offset, record.timestamp_ms or 0, record.key, record.value, record.headers)


@given(st.lists(outgoing, max_size=6), st.integers(0, 2**62))
def test_round_trip(records: list[Outgoing], start: int) -> None:
    raws = [encoded(record, start + n) for n, record in enumerate(records)]
    wanted = [expected(record, start + n) for n, record in enumerate(records)]
    assert [decode("t", 3, raw) for raw in raws] == wanted
    assert decode_run("t", 3, raws, 100, 10_000_000)[0] == wanted
    assert [timestamp_of(raw) for raw in raws] == [record.timestamp_ms for record in wanted]


@given(st.lists(outgoing, min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 300))
def test_a_run_is_bounded_but_never_empty(records: list[Outgoing], limit: int, max_bytes: int) -> None:
    """Otherwise a record larger than the bound would never be read."""
    raws = [encoded(record, n) for n, record in enumerate(records)]
    found, left = decode_run("t", 3, raws, limit, max_bytes)
    assert 1 <= len(found) <= limit
    assert left == max_bytes - sum(map(len, raws[: len(found)]))
    assert left + len(raws[len(found) - 1]) > 0
