"""A drop folder of strangers: only whole, regular files become orders; the rest is put away, said, and stops nothing."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.codec import Codec
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.topics import raw_channel
from streams.agents.drop_folder import DropFolderFormat, clean_name, free, read_bounded
from streams.agents.file_drop import ClaimedFile, Folder, drop
from streams.agents.file_notices import FileExceptions, outcomes
from streams.agents.inbound import FolderSource, InboundSources
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import MemoryLog

HEAD = "order,customer,placed_at,line,item,qty\n"
ROW = "A,C,2026-11-02T09:00:00Z,1,X,1\n"


async def turns(count: int) -> AsyncIterator[None]:
    for _ in range(count):
        yield None


def put(path: Path, data: str | bytes = HEAD + ROW, age_s: float = 10.0) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def folder_of(path: Path, **declared: object) -> Folder:
    made = Folder(path / "drop", "edi", DropFolderFormat(**declared))  # type: ignore[arg-type]
    made.prepare()
    return made


def drops(folder: Folder) -> dict[str, ClaimedFile]:
    """What one turn brings, by name; all finished."""

    async def run() -> dict[str, ClaimedFile]:
        found = {}
        async for dropped in drop(turns(1), folder):
            found[dropped.name] = dropped
            folder.finish(dropped)
        return found

    return asyncio.run(run())


def test_a_half_written_file_is_waited_for_and_never_becomes_half_an_order(tmp_path: Path) -> None:
    """The last line ends before it is read; who never ends it is told so."""
    folder = folder_of(tmp_path, patience_s=60)
    path = put(folder.path / "a.csv", HEAD + ROW[:-1])
    assert drops(folder) == {}
    put(path, HEAD + ROW[:-1] + "00\nA,C,2026-11-02T09:00:00Z,2,Y,5\n")
    (dropped,) = drops(folder).values()
    assert [row.outcome for row in dropped.rows] == ["taken", "taken"]
    assert b",100\n" in (dropped.records[0].value or b"")
    put(folder.path / "b.csv", HEAD + ROW[:-1], age_s=61)
    put(folder.path / "c.csv")
    found = drops(folder)
    assert "does not end" in str(found["b.csv"].refused)
    assert (folder.path / "rejected" / "b.csv").exists()
    assert found["c.csv"].refused is None


def test_a_folder_declares_what_shows_that_a_file_is_whole(tmp_path: Path) -> None:
    by_rest = folder_of(tmp_path / "rest", complete="rest", settled_s=5)
    put(by_rest.path / "a.csv", HEAD + ROW[:-1], age_s=4)
    assert drops(by_rest) == {}
    put(by_rest.path / "a.csv", HEAD + ROW[:-1], age_s=6)
    assert list(drops(by_rest)) == ["a.csv"]

    by_name = folder_of(tmp_path / "rename", complete="rename")
    put(by_name.path / "a.csv.part", HEAD + ROW[:-1], age_s=30)
    assert drops(by_name) == {}
    (by_name.path / "a.csv.part").rename(by_name.path / "a.csv")
    os.utime(by_name.path / "a.csv")
    assert list(drops(by_name)) == ["a.csv"]

    by_marker = folder_of(tmp_path / "marker", complete="marker", marker=".ok")
    put(by_marker.path / "a.csv", HEAD + ROW[:-1], age_s=30)
    assert drops(by_marker) == {}
    put(by_marker.path / "a.csv.ok", "", age_s=0)
    assert list(drops(by_marker)) == ["a.csv"]
    assert sorted(p.name for p in by_marker.path.iterdir() if p.is_file()) == []
    put(by_marker.path / "b.csv", age_s=61)
    put(by_marker.path / "c.csv.ok", age_s=61)
    found = drops(by_marker)
    assert "has not come" in str(found["b.csv"].refused)
    assert "marks a file" in str(found["c.csv.ok"].refused)


def test_a_file_somebody_has_open_for_writing_is_not_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, patience_s=60)
    path = put(folder.path / "a.csv")
    with path.open("a"):
        assert drops(folder) == {}
    assert list(drops(folder)) == ["a.csv"]
    with put(folder.path / "b.csv", age_s=61).open("a"):
        assert "open for writing" in str(drops(folder)["b.csv"].refused)


def test_a_file_that_grows_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, complete="rename")
    put(folder.path / "a.csv")

    def growing(path: Path, most_bytes: int) -> bytes:
        data = read_bounded(path, most_bytes)
        if len(data) < 100:
            with path.open("a") as out:
                out.write("B,C,2026-11-02T09:00:00Z,1,X,1\n")
        return data

    monkeypatch.setattr("streams.agents.file_drop.read_bounded", growing)
    assert drops(folder) == {}
    assert [len(dropped.records) for dropped in drops(folder).values()] == [2]


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def hard_link(path: Path) -> None:
    path.hardlink_to(put(path.parents[1] / "other.csv", age_s=100))


def stray(path: Path) -> None:
    put(path.with_name("note.txt"), "no orders")


def huge(path: Path) -> None:
    with path.open("wb") as out:
        out.truncate(40 << 20)
        out.seek(-1, os.SEEK_END)
        out.write(b"\n")
    os.utime(path, (1, 1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (link, "a link"),
        (hard_link, "a hard link"),
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
        (stray, "not an order file"),
        (huge, "more than"),
        (lambda path: put(path, b"\xff\xfea\x00\n"), "not utf-16"),
        (lambda path: put(path.with_name(".hidden"), age_s=100), "still being written"),
        (lambda path: put(path.with_name("x.csv.part"), age_s=100), "still being written"),
        (lambda path: put(path, "a\x00b\n"), "NUL"),
        (lambda path: put(path, b'"' * 99 + b"\n"), "cannot be read"),
        (lambda path: os.utime(put(path, ""), (1, 1)), "does not end"),
    ],
)
def test_what_is_no_order_file_is_put_away_and_stops_nothing(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    """Nothing is read through a link or a pipe, and what comes behind is taken."""
    folder = folder_of(tmp_path, patience_s=5)
    make(folder.path / "0.csv")
    put(folder.path / "9.csv")
    found = drops(folder)
    assert found.pop("9.csv").refused is None
    (bad,) = found.values()
    assert says in str(bad.refused)
    assert not bad.records
    assert len(list((folder.path / "rejected").iterdir())) == 1
    assert (folder.path / "reports" / f"{bad.name}.report.csv").exists()
    assert [p.name for p in folder.path.iterdir() if p.name not in {".claimed", "done", "rejected", "reports"}] == []
    assert drops(folder) == {}


def test_a_file_is_never_read_beyond_its_bound(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, max_bytes=100)
    put(folder.path / "a.csv", HEAD + ROW * 3)
    assert "more than 100" in str(drops(folder)["a.csv"].refused)


def test_names_are_cleaned_and_bounded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name in ("x" * 240 + ".csv", "=1+1|\x1b[2J\u202e.csv", "\udcff.csv", ". .csv"):
        put(folder.path / name, age_s=100)
    names = list(drops(folder))
    assert len(names) == 4
    for name in names:
        assert len(name) <= 104
        assert name.isprintable()
    assert clean_name("a/b\\c.csv") == "a_b_c.csv"
    assert clean_name("orders 2026-11.csv") == "orders 2026-11.csv"
    taken = tmp_path / "t.csv"
    taken.symlink_to("nowhere")
    assert free(taken).name == "t-2.csv"


def test_no_cell_of_a_report_is_a_formula(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    put(folder.path / "a.csv", HEAD + '"=HYPERLINK(""http://x"")",C,2026-11-02T09:00:00Z,1,X,1\n@SUM(1),C,now,1,X,1\n')
    drops(folder)
    with (folder.path / "reports" / "a.csv.report.csv").open() as report:
        rows = list(csv.DictReader(report))
    assert [row["order"] for row in rows] == ['\'=HYPERLINK("http://x")', "'@SUM(1)"]


def test_a_time_in_the_future_is_said_and_stops_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, settled_s=0.05)
    put(folder.path / "a.csv", age_s=-7200)
    assert drops(folder) == {}
    time.sleep(0.1)
    (dropped,) = drops(folder).values()
    assert "120 minutes in the future" in dropped.notes[0]
    assert "120 minutes" in (folder.path / "reports" / "a.csv.report.csv").read_text()


def test_what_cannot_be_moved_is_said_once_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path)
    put(folder.path / "stray.txt")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "stray.txt":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    put(folder.path / "z.csv")
    found = drops(folder)
    assert "could not be moved away" in str(found["stray.txt"].refused)
    assert found["z.csv"].refused is None
    assert drops(folder) == {}


def test_a_row_is_taken_only_when_its_order_is_there() -> None:
    """Until then it was sent; a dead letter was refused."""
    records = [Outgoing("raw.channel.edi", 0, None, b"") for _ in range(3)]
    dropped = ClaimedFile("a", records, [], None, ["A", "B", "C"], {"A": "edi:A", "C": "edi:C"})
    answers: dict[str, tuple[str, str] | None] = {"edi:A": ("taken", ""), "edi:C": None}

    def became(order_id: str, topic: str, partition: int, offset: int) -> tuple[str, str] | None:
        assert (topic, partition, offset) == ("raw.channel.edi", 0, {"edi:A": 7, "edi:C": 9}[order_id])
        return answers[order_id]

    found = asyncio.run(outcomes(dropped, [7, 8, 9], became, 0.3))
    assert found["A"] == ("taken", "")
    assert found["C"][0] == "sent"
    assert "edi:C" in found["C"][1]
    answers["edi:C"] = ("refused", "it is a dead letter")
    assert asyncio.run(outcomes(dropped, [7, 8, 9], became, 5))["C"][0] == "refused"


def test_a_rejected_file_is_an_exception_until_one_of_its_name_is_taken(tmp_path: Path) -> None:
    kept = MemoryLog()
    kept.create([*topics.DEFINED, raw_channel("edi")])
    path = tmp_path / "drop"
    path.mkdir()
    put(path / "a.csv", "colour\nred\n")
    put(path / "note.txt", "hello")
    inbound = InboundSources(kept, [FolderSource("acme", "edi", path, 0.05)], CollectorRegistry())
    inbound.start()
    try:
        wait_for((path / "reports" / "note.txt.report.csv").exists)
        put(path / "a.csv", age_s=100)
        wait_for((path / "done" / "a.csv").exists)
    finally:
        inbound.stop()
    codec, at = Codec(), TopicPartition(topics.EXCEPTIONS_INBOX.name, 0)
    events = [codec.decode(record.value or b"") for record in kept.read(at, 0, 10)]
    assert {event.fingerprint for event in events if isinstance(event, ExceptionNoted)} == {
        "file_rejected:acme:a.csv",
        "file_rejected:acme:note.txt",
    }
    cleared = [event.fingerprint for event in events if isinstance(event, ExceptionCleared)]
    assert cleared == ["folder_unreadable:acme", "file_rejected:acme:a.csv"]  # an earlier run may have noted the first
    assert "colour" in next(event.sentence for event in events if event.fingerprint.endswith("a.csv"))


def _said_of(kept: MemoryLog, code: str) -> list[ExceptionNoted | ExceptionCleared]:
    codec, at = Codec(), TopicPartition(topics.EXCEPTIONS_INBOX.name, 0)
    events = [codec.decode(record.value or b"") for record in kept.read(at, 0, 100)]
    return [e for e in events if isinstance(e, ExceptionNoted | ExceptionCleared) and e.fingerprint.startswith(f"{code}:")]


def _blocked(path: Path) -> None:
    """The folder's mount is gone: a plain file stands where it was."""
    shutil.rmtree(path)
    path.write_text("")


@pytest.mark.parametrize("when", ["from the beginning", "later"])
def test_a_folder_that_cannot_be_read_is_an_exception_until_it_can(tmp_path: Path, when: str) -> None:
    kept = MemoryLog()
    kept.create([*topics.DEFINED, raw_channel("edi")])
    path = tmp_path / "drop"
    path.mkdir()
    if when != "later":
        _blocked(path)
    inbound = InboundSources(kept, [FolderSource("acme", "edi", path, 0.05)], CollectorRegistry())
    inbound.start()
    try:
        if when == "later":
            wait_for(lambda: bool(_said_of(kept, "folder_unreadable")))  # it can be read
            _blocked(path)
        wait_for(lambda: any(isinstance(e, ExceptionNoted) for e in _said_of(kept, "folder_unreadable")))
        time.sleep(2.5)  # two more turns that fail: it is said once
        path.unlink()
        path.mkdir()
        put(path / "a.csv")
        wait_for((path / "done" / "a.csv").exists)
        wait_for(lambda: isinstance(_said_of(kept, "folder_unreadable")[-1], ExceptionCleared))
    finally:
        inbound.stop()
    noted = [e for e in _said_of(kept, "folder_unreadable") if isinstance(e, ExceptionNoted)]
    assert [(e.code, e.fingerprint) for e in noted] == [("folder_unreadable", "folder_unreadable:acme")]
    assert f"The folder acme ({path}) cannot be read or written to" in noted[0].sentence


def test_a_folder_whose_exception_the_log_does_not_take_is_said_the_next_time(tmp_path: Path) -> None:
    kept = MemoryLog()
    kept.create(topics.DEFINED)

    class Away:
        is_away = True

        def append(self, outgoing: Sequence[Outgoing]) -> list[int]:
            if self.is_away:
                raise Unavailable("the disk is full")
            return kept.append(outgoing)

    away = Away()
    notes, error = FileExceptions(away, Codec()), PermissionError(13, "Permission denied", "/mnt/x")  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        notes.unreadable("acme", tmp_path, error)
    away.is_away = False
    notes.unreadable("acme", tmp_path, error)
    notes.unreadable("acme", tmp_path, error)
    (said,) = _said_of(kept, "folder_unreadable")
    assert isinstance(said, ExceptionNoted)
    assert "(Permission denied: /mnt/x)" in said.sentence


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
