"""The Elasticsearch and OpenSearch output: bulks, what their answers mean, and what becomes of each document.

`output` takes documents over, `gather` makes bulks of them, `exchange` sends one, `bulk` and `triage` judge the answer,
`settle` acts on it (`reduce`, `spool`, dead letter). `transport` speaks HTTP, also for `check` and `setup`.
Imports nothing by itself: `bulk` is asked by the configuration, and the client costs 10 MB.
"""
