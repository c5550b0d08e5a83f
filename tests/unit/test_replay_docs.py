"""docs/replay.md and the Kubernetes example say what the command has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from shipper.cli import main
from shipper.replay.command import replay

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/replay.md").read_text()
JOB: dict[str, Any] = yaml.safe_load((ROOT / "docker/kubernetes/replay-job.yaml").read_text())
OPTIONS = {name for parameter in replay.params for name in parameter.opts if name.startswith("--")}


def options_of_all() -> set[str]:
    commands = [command for command in main.commands.values() if isinstance(command, click.Command)]
    return {name for command in commands for parameter in command.params for name in parameter.opts}


def test_every_option_is_explained() -> None:
    """Those that `run` has too need no words."""
    shared = {name for parameter in main.commands["run"].params for name in parameter.opts}

    assert sorted(name for name in OPTIONS - shared if name not in TEXT) == []


def test_every_option_that_is_named_is_there() -> None:
    """In the commands of the document."""
    lines = [line for line in TEXT.replace("\\\n", " ").splitlines() if re.match(r" {4}(\S.*\| )?shipper ", line)]
    named = {name for line in lines for name in re.findall(r"(?<= )--[a-z-]+", line.partition("shipper ")[2])}

    assert len(named) > 8
    assert sorted(named - options_of_all()) == []


def test_the_job_has_as_many_shards_as_pods() -> None:
    """One number in three places."""
    spec = JOB["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (shards,) = re.findall(r'--shard "\$JOB_COMPLETION_INDEX/(\d+)"', container["args"][0])

    assert spec["completions"] == spec["parallelism"] == int(shards)
    assert spec["completionMode"] == "Indexed"


def test_the_job_is_as_kubernetes_wants_it() -> None:
    """By the newest schema that the validator has, and no unknown key."""
    validator = pytest.importorskip("kubernetes_validate")

    assert validator.validate(JOB, validator.latest_version(), strict=True)
