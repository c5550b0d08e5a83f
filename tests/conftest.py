"""Fixtures for all tests: the real counterparts come from the `harness` package."""

from hypothesis import settings

pytest_plugins = ["harness.fixtures"]

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")
