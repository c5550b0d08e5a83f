"""The local output: a document a line in daily NDJSON files, exactly once by the ledger beside them.

`output` takes documents over, `groupcommit` makes a group durable, `dayfiles` are the files, `ledger` knows what they
have.
"""

from shipper.local.output import FRAME, LocalOutput

__all__ = ["FRAME", "LocalOutput"]
