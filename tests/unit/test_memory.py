"""What the daemon does without: modules that cost a sidecar's memory for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys, shipper.cli, shipper.daemon; print(sorted(sys.modules))"


@pytest.mark.parametrize(
    "module", ["elastic_transport", "elasticsearch", "urllib3", "numpy", "zstandard", "shipper.audit"]
)
def test_a_daemon_with_a_local_output_does_without(module: str) -> None:
    """The client of a server is imported where the output is one, the rest by the commands that need it."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert f"'{module}'" not in done.stdout
