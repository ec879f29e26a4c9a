"""Settings of promises are noted beside the log, and a change of them is told."""

from __future__ import annotations

from pathlib import Path

from streams.runtime.policy_history import NOTE, mixed, note_policy
from tables.common.policy import Policy, SitePolicy


def test_a_change_of_settings_is_told(tmp_path: Path) -> None:
    """Once when it happens, and from then on whenever the log is compared."""
    first, second = Policy(), Policy(sites={"EU1": SitePolicy(physical_owner="erp")})
    directory = tmp_path / "data"
    assert mixed(directory, first) is None
    assert note_policy(directory, first) is None and note_policy(directory, first) is None
    assert mixed(directory, first) is None
    assert mixed(directory, second) is not None
    assert note_policy(directory, second) is not None and note_policy(directory, second) is None
    assert mixed(directory, second) is not None


def test_a_spoiled_note_harms_nobody(tmp_path: Path) -> None:
    """It is a help, not a part of the log."""
    (tmp_path / NOTE).write_text("{")
    assert mixed(tmp_path, Policy()) is None and note_policy(tmp_path, Policy()) is None
