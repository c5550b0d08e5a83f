"""The real counterparts of the tests: Elasticsearch, OpenSearch, Winston, Prometheus, and a sink with faults.

Each lives in a process of its own on a free loopback port, keeps its data in a temporary directory and ends with
the test run. What cannot be had here says why (`MissingError`), so that a skipped test is never a silent one.
"""
