"""What commands do without: modules that cost every start its time, and a sidecar its memory, for nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = "import atexit, sys; atexit.register(lambda: print(sorted(sys.modules)))"
COMMAND = f"{MODULES}; from shipper.cli import main; main()"
LINE = '{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/a","statusCode":200,"duration":3}\n'


@pytest.mark.parametrize(
    "module",
    [
        "_hashlib",
        "difflib",
        "email",
        "http.client",
        "http.server",
        "prometheus_client.exposition",
        "ssl",
        "tempfile",
        "elastic_transport",
        "elasticsearch",
        "urllib3",
        "watchdog",
        "numpy",
        "zstandard",
        "exporter.webconfig",
        "shipper.audit",
        "shipper.local",
        "shipper.replay.conduct",
    ],
)
def test_a_daemon_does_without_what_only_some_configurations_need(module: str) -> None:
    """Output, directory events and TLS are imported where they are wanted, the rest by the commands that need it, and
    of prometheus_client only what keeps numbers.
    """
    code = f"{MODULES}; import shipper.cli, shipper.daemon"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"'{module}'" not in done.stdout


@pytest.mark.parametrize("command", [["run", "--once"], ["replay"]], ids=" ".join)
def test_one_that_ends_by_itself_watches_nothing_and_serves_nothing(tmp_path: Path, command: list[str]) -> None:
    """Neither events of directories nor a web config, whose start would be longer than the work of a short file."""
    loaded = modules_of(command, tmp_path)

    assert not loaded & {"watchdog", "exporter.webconfig", "urllib3", "zstandard"}
    assert "shipper.local.output" in loaded


def test_a_replay_does_without_daemon_rules_and_yaml(tmp_path: Path) -> None:
    """Workers are forked of it: what it does not have they need not carry."""
    loaded = modules_of(["replay"], tmp_path)

    assert not loaded & {
        "shipper.daemon",
        "shipper.engine",
        "shipper.state",
        "exporter.rules",
        "exporter.series",
        "yaml",
        "shipper.replay.history",
    }


def modules_of(command: list[str], directory: Path) -> set[str]:
    """All that a command over one line into a directory has imported when it ends."""
    log = directory / "app.log"
    log.write_text(LINE)
    arguments = [*command, str(log), "--output", str(directory / "out")]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True, cwd=directory
    )
    return set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))


def output_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("order", ["import prometheus_client; import exporter.registry", "import exporter.registry"])
def test_prometheus_client_is_the_same_whole_and_in_part(order: str) -> None:
    """Whoever imports the package itself, before or later, has it whole, and the same classes as we."""
    code = (
        f"{order}\nimport prometheus_client as whole, exporter.registry as part\n"
        "print(whole.Counter is part.Counter, whole.CollectorRegistry is part.CollectorRegistry)\n"
        "print(len(whole.generate_latest(part.CollectorRegistry())))"
    )
    assert output_of(code) == "True True\n0\n"


@pytest.mark.parametrize("lacks", ["pass", "import hashlib, sys; sys.modules['_blake2'] = None"])
def test_digests_are_those_of_hashlib_also_where_python_has_no_part_for_them(lacks: str) -> None:
    """They are in ids, so nothing may change them."""
    code = (
        f"{lacks}\nfrom shipper.blake2 import blake2b; print(blake2b(b'line', digest_size=6, person=b'p').hexdigest())"
    )
    assert output_of(code).strip() == hashlib.blake2b(b"line", digest_size=6, person=b"p").hexdigest()
