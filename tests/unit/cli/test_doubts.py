"""Whoever asks for a number that may be wrong reads what raises the doubt, each kind in its own words."""

from __future__ import annotations

from streams.cli.reads import _doubts


def test_each_kind_of_doubt_has_its_words() -> None:
    told = _doubts(
        [
            "raw.wms/0/7",
            "raw.wms/0/9",
            "waiting:promise/3:site:DC-1",
            "waiting:documents/1:document number:SO-1",
            "negative:DC1:usable",
        ]
    )
    assert told == (
        "messages about it are in quarantine: raw.wms/0/7, raw.wms/0/9; events of it wait for site DC-1, document number SO-1; "
        "its balance is below zero at DC1:usable"
    )


def test_a_record_whose_topic_looks_like_a_kind_is_a_record() -> None:
    assert _doubts(["waiting", "x:y"]) == "messages about it are in quarantine: waiting, x:y"
