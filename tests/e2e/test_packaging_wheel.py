"""What `pip install .` puts on a machine: the built wheel, run away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shipper", "exporter")
SHARED = ".data/data/share/shipper/"
"""Where the wheel has what pip puts below the environment's `share/shipper/`."""


def is_shared(name: str) -> bool:
    """Whether a file of the wheel is none of the packages'."""
    return SHARED in name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the checkout (a build leaves files behind)."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in (*PACKAGES, "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", out, copy], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    """Modules, type markers and the page are in it; tests are not."""
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if ".dist-info/" not in name and not is_shared(name)}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == wanted


def test_the_wheel_has_the_ready_rules_and_alerts(wheel: Path) -> None:
    """What the shipper, Prometheus, Alertmanager and Grafana can use as it is comes along, in conf's own folders."""
    with zipfile.ZipFile(wheel) as archive:
        shared = filter(is_shared, archive.namelist())
        packed = {name.partition(SHARED)[2]: archive.read(name) for name in shared}
    folders = ("rules", "tests", "prometheus", "alertmanager")
    wanted = [path for folder in folders for path in (ROOT / "conf" / folder).rglob("*.yml")]
    wanted += [ROOT / "conf" / "shipper.yml", *(ROOT / "conf" / "grafana" / "dashboards").iterdir()]
    wanted += (ROOT / "conf" / "elasticsearch").glob("roles*/*.json")
    assert packed == {path.relative_to(ROOT / "conf").as_posix(): path.read_bytes() for path in wanted}


def test_the_installed_command_starts_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The console script's function runs from the wheel's files alone and says what it can do."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    entry_points = next(site.glob("shipper-*.dist-info")) / "entry_points.txt"
    assert "shipper = shipper.entry:main" in entry_points.read_text()
    code = (
        "import sys, shipper.cli; sys.argv[0] = 'shipper'; print(shipper.cli.__file__, flush=True); shipper.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(site / "shipper" / "cli.py")
    assert {"run", "check", "explain", "demo", "setup"} <= set(done.stdout.split())
