"""Derives Prometheus series from batches and serves them; knows of `shipper` only batch, expressions and errors."""
