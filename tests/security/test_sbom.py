"""`make sbom`: the list of what a run installs, for those who must know it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_list_has_what_a_run_installs(tmp_path: Path) -> None:
    """Each package of requirements/run.lock, with its version and hashes, in CycloneDX."""
    recipe = re.search(r"^sbom:.*\n\t\$\(TEST_VENV\)/bin/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    command = [sys.executable, *recipe[1].replace("sbom.json", str(tmp_path / "sbom.json")).split()]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    listed = json.loads((tmp_path / "sbom.json").read_text())
    lock = (ROOT / "requirements" / "run.lock").read_text()
    expected = set(re.findall(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", lock, re.MULTILINE))
    assert listed["bomFormat"] == "CycloneDX"
    assert {(item["name"], item["version"]) for item in listed["components"]} == expected
    assert all(item["externalReferences"][0]["hashes"] for item in listed["components"])
