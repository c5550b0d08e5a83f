"""Fuzzers for all that reads what strangers write: `make fuzz`, or `python -m fuzz TARGET` with tests/ on the path."""
