"""What the terminal is shown: text that cannot command it, addresses without their passwords, JSON that means what it did."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest

from connectors.texts import masked
from streams.cli import _readable
from streams.cli.output import Terminal, as_it_is, as_json, table
from streams.runtime.open_log import opened_log
from streams.settings.settings import BadSettings, load

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\u202eevil\x9b31m"


def shown(*what: object) -> str:
    out = io.StringIO()
    Terminal(file=out, width=200, force_terminal=True, color_system=None).print(*what)
    return out.getvalue()


def test_no_text_commands_the_terminal() -> None:
    """In tables, in sentences, as JSON."""
    for text in (shown(table(HOSTILE, ("item", HOSTILE), [(HOSTILE, HOSTILE)])), shown(HOSTILE), shown(f"[bold]{HOSTILE}[/]")):
        for hidden in ("\x1b]", "\x1b[2J", "\u202e", "\x9b", "\x07"):
            assert hidden not in text
        assert "\\x1b" in text


def test_json_keeps_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    as_json({"text": HOSTILE})
    as_it_is(json.dumps({"text": HOSTILE}, ensure_ascii=False))
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\u202e\x9b\x07")
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(printed)
    second, _ = decoder.raw_decode(printed[end:].strip())
    assert first == second == {"text": HOSTILE}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("http://user:secret@host:80/x", "http://***@host:80/x"),
        ("kafka://user:se@cr/et@host:9092", "kafka://***@host:9092"),
        ("see https://u:p@a/ and http://b/", "see https://***@a/ and http://b/"),
        ("mail a@b.c", "mail a@b.c"),
        ("http://host/plain", "http://host/plain"),
    ],
)
def test_passwords_in_addresses_are_not_shown(text: str, right: str) -> None:
    assert masked(text) == right
    assert shown(text).strip() == right
    assert _readable(None, "", {"event": text})["event"] == right


def test_a_wrong_setting_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for toml in (
        'log = "kafka://user:secret@host:9092"',
        'log = "kafka:/user:secret@host"',
        '[poll.m]\nchannel = "web"\nurl = "ftp://user:secret@host/"',
        '[endpoint.erp]\nrole = "erp"\nurl = "http://user:secret@host:x/"\ntimeout_s = -1',
    ):
        (tmp_path / "crossdock.toml").write_text(toml)
        with pytest.raises(BadSettings) as error:
            load()
        assert "secret" not in str(error.value), toml


def test_what_we_create_is_for_whoever_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(data=tmp_path / "new" / "data")
    with opened_log(settings, may_create=True):
        assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
