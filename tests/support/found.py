"""A rule was broken on purpose: some seed has to show it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from infra.simulation.run import simulate


def assert_found(seeds: Iterable[int]) -> str:
    """Fails if no seed shows that something is wrong. Returns what the first one to do so says."""
    tried = 0
    for seed in seeds:
        tried += 1
        report = simulate(seed)
        if not report.is_ok:
            assert f"crossdock simulate --seed {seed}" in str(report)
            return str(report)
    pytest.fail(f"{tried} seeds have not found it")


def set_rule(patch: pytest.MonkeyPatch, rules: dict[Any, Any], event: type[Any], rule: Any) -> None:
    """Put another rule in place of a fold's own."""
    patch.setitem(rules, event, rule)
