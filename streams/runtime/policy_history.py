"""Which settings of promises, orders and endpoints a log has been folded with.

They are not in the log, so rows decided under other settings differ from what folding it again makes. Whoever starts on the log
notes them here, and whoever compares is told.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTE = "policies.json"


def note_policy(directory: Path, policy: Any) -> str | None:
    """Note that events are decided by these settings from now on: all that `repr` shows of them.

    Returns a sentence if they were others before.
    """
    known = _known(directory)
    if known and known[-1] == repr(policy):
        return None
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NOTE).write_text(json.dumps([*known, repr(policy)], indent=1))
    if not known:
        return None
    return "The settings rules decide by are others than before: what was decided stays, new events are decided by the new ones."


def mixed(directory: Path, policy: Any) -> str | None:
    """A sentence if not every event of the log was decided by these settings."""
    known = _known(directory)
    if all(text == repr(policy) for text in known):
        return None
    return "Not all of this log was decided by the present settings: rows from before may differ for that reason."


def _known(directory: Path) -> list[str]:
    path = directory / NOTE
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text())
    except ValueError:
        return []  # the note is a help, not a part of the log
    return [str(text) for text in found] if isinstance(found, list) else []
