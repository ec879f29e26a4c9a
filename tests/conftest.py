"""One hypothesis profile for all tests: a loaded machine is no reason to fail, and a failure prints how to repeat it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("crossdock", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crossdock")
