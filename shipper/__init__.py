"""Tails rotating JSON logs, enriches them, and bulk-indexes them; see ARCHITECTURE.md."""

__version__ = "0.1.0"
