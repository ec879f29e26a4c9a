"""Inputs out of public bug reports, played as their systems would send them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.field_cases import DATA, Field

CASES = sorted(path.stem for path in DATA.glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_the_outcome_is_right(name: str, tmp_path: Path) -> None:
    field = Field(name, tmp_path)
    try:
        wrong = field.play()
        assert [] in wrong, "\n\nor\n\n".join("\n".join(outcome) for outcome in wrong)
    finally:
        field.server.kill()
