"""A dead letter keeps all of its record, so that replaying it gives the rules what the source gave."""

from __future__ import annotations

from schemas.errors import BadMessage
from schemas.records import Record
from streams.engine.quarantine import REPLAY_ITEMS, REPLAY_OF, dead_letter, replay_headers, replay_of


def test_headers_are_kept() -> None:
    """A renumbered item's old key comes in a header: without it the replay would say something else."""
    record = Record("raw.erp.item", 1, 7, 5, b"k", b"\xff", (("__debezium.oldkey", b'{"item_no":"A"}'), ("x", b"")))
    letter = dead_letter("translate.erp", record, BadMessage("not JSON", hint="send JSON"), ["A"])
    assert tuple((h.name, h.value) for h in letter.headers) == record.headers
    assert (letter.key, letter.value) == (record.key, record.value)


def test_items_with_any_characters_survive_the_replay_header() -> None:
    """Item numbers may hold commas, blanks and umlauts."""
    record = Record("raw.wms", 0, 3, 5, None, b"{}", ())
    items = ["A,1", "Ü 2", "50%"]
    letter = dead_letter("translate.wms", record, BadMessage("bad"), items)
    headers = replay_headers(letter)
    assert [name for name, _ in headers] == [REPLAY_OF, REPLAY_ITEMS]
    assert replay_of(headers) == ("raw.wms/0/3", items)
