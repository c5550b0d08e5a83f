"""Fixtures for all tests: the real counterparts come from the `harness` package."""

pytest_plugins = ["harness.fixtures", "together"]
