"""Whether the rules run as machine code (`infra/compile.sh`), and whether that is of the sources beside it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = Path("infra") / "compiled.json"


@cache
def is_compiled() -> bool:
    """Whether this process runs compiled rules."""
    import tables.inventory.item_ledger  # noqa: PLC0415 - what Python finds for it is the question

    return (tables.inventory.item_ledger.__file__ or "").endswith(tuple(EXTENSION_SUFFIXES))


def outdated(root: Path = ROOT) -> list[str]:
    """Sources that have changed since they were compiled: what runs is not what is written there."""
    record = root / RECORD
    digests: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    return [name for name, digest in digests.items() if _digest(root / name) != digest]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
