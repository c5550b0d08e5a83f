"""Fixtures for all tests: the real counterparts come from the `harness` package."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["harness.fixtures"]

# a busy machine is no failure
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
