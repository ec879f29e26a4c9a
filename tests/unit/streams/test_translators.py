"""The wiring of translators: names are the declared writers, every raw topic is read once."""

from __future__ import annotations

from schemas import topics
from streams.engine.flow import check_writer
from streams.flows.translators import translators
from tables.common.table import in_memory
from tables.operations.feed_sequence import FeedLedgerTables, admit


def test_names_are_the_writers_of_the_topics() -> None:
    """What a translator yields is checked against these names."""
    names = [translator.name for translator in translators(["web", "edi"])]
    expected = ["translate.erp", "translate.wms", "translate.crm", "translate.channel"]
    assert names == [topics.ERP, topics.WMS, topics.CRM, topics.CHANNEL] == expected


def test_every_raw_topic_is_read_by_one_translator() -> None:
    """The ERP's tables and the rest of its feed, the WMS, the CRM, and each channel."""
    read = [topic.name for translator in translators(["web", "edi"]) for topic in translator.topics]
    expected = {t.name for t in topics.DEFINED if t.is_raw} | {"raw.channel.web", "raw.channel.edi"}
    assert sorted(read) == sorted(expected)


def test_the_warehouse_feed_has_a_ledger_that_may_note_gaps() -> None:
    """Its ledger's events are the WMS translator's to write."""
    (wms,) = [t for t in translators([]) if t.name == topics.WMS]
    assert wms.tables is FeedLedgerTables
    assert wms.admit is admit
    from schemas.records import FeedPosition

    t = in_memory(FeedLedgerTables)
    found = [e for s in (1, 3, 2) for e in admit(t, FeedPosition("wms", s, s))]
    assert len(found) == 2
    for event in found:
        check_writer(wms.name, event)
