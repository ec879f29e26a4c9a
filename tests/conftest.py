"""For all tests: a broker, and one hypothesis profile: a loaded machine is not a reason to fail, a failure says how to repeat
it.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from streams.runtime.compiled_check import is_compiled, outdated
from tests.support.kafka_broker import broker

__all__ = ["broker"]

settings.register_profile("crossdock", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crossdock")

# A shell that runs the tests in the background has them, and every process they start, ignore Ctrl-C, which some of them send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"rules: {'compiled' if is_compiled() else 'plain Python'}"


def pytest_configure() -> None:
    """What is tested has to be what is written."""
    if changed := outdated():
        raise pytest.UsageError(f"{', '.join(changed)} changed after infra/compile.sh: run it again, or with --remove")
