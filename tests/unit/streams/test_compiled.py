"""Machine code is not taken for what is written beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from streams import cli
from streams.runtime.compiled_check import outdated


def compiled(root: Path, **sources: str) -> None:
    """A tree with sources, and the record of their compilation."""
    (root / "infra").mkdir()
    (root / "tables").mkdir()
    digests = {}
    for name, text in sources.items():
        (root / "tables" / f"{name}.py").write_text(text)
        digests[f"tables/{name}.py"] = hashlib.sha256(text.encode()).hexdigest()
    (root / "infra" / "compiled.json").write_text(json.dumps(digests))


def test_a_source_that_changed_or_went_after_it_was_compiled_is_named(tmp_path: Path) -> None:
    compiled(tmp_path, book="x = 1", atp="y = 1", supply="z = 1")
    assert outdated(tmp_path) == []
    (tmp_path / "tables" / "atp.py").write_text("y = 2")
    (tmp_path / "tables" / "supply.py").unlink()
    assert outdated(tmp_path) == ["tables/atp.py", "tables/supply.py"]


def test_where_nothing_was_compiled_nothing_is_outdated(tmp_path: Path) -> None:
    assert outdated(tmp_path) == []


def test_a_command_refuses_to_run_other_rules_than_those_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "outdated", lambda: ["tables/inventory/atp.py", "tables/inventory/item_ledger.py"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "tables/inventory/atp.py and 1 more changed after it was compiled" in said and "infra/compile.sh --remove" in said
