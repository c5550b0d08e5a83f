"""`python -m harness.sink --help`."""

import sys

from harness.sink.server import main

main(sys.argv[1:])
