"""`make soak`: real writers at full speed, a shipper that is killed, a server that fails, and at the end the ledger."""
