"""Measures the whole program from outside; `python -m bench` (or `make bench`). No figure decides a test."""
