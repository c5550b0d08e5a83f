"""`shipper replay`: history, from plain or compressed archives, into an output and into Prometheus.

`plan` says what is read, `crew` shares it out to `worker`s, `book` remembers how far each file came, `history` counts.
"""
