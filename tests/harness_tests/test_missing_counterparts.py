"""What cannot be had on a machine is told, never passed over; what was downloaded is kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import harness
import pytest
from harness.missing import MissingError, cached, ran, tool
from harness.process import scratch

pytest_plugins = ["pytester"]


def test_the_cache_keeps_nothing_of_a_build_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed build leaves no folder under its key; the next one builds, and those after it do not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = []

    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        built.append(folder)
        if len(built) == 1:
            raise MissingError("no network")

    with pytest.raises(MissingError):
        cached("key", build)
    assert [file.name for file in cached("key", build).iterdir()] == ["half"]
    cached("key", build)
    assert len(built) == 2


@pytest.mark.parametrize(
    ("ci", "is_excused", "outcome"),
    [("", False, "skipped"), ("true", False, "failed"), ("true", True, "skipped")],
)
def test_what_is_missing_is_never_silent(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, is_excused: bool, outcome: str
) -> None:
    """A missing counterpart skips its tests, and a summary counts them; in CI it fails them unless it is excused."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYTHONPATH", str(Path(harness.__file__).parents[1]))
    pytester.makeconftest('pytest_plugins = ["harness.fixtures"]')
    pytester.makepyfile(f"""
        import pytest
        from harness.missing import MissingError

        @pytest.fixture(scope="session")
        def absent():
            raise MissingError("no such thing", is_excused={is_excused})

        def test_one(absent): pass
        def test_two(absent): pass
        def test_three(): raise MissingError("no such thing", is_excused={is_excused})
    """)
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(["*NOT TESTED*", "3 tests: no such thing"])
    counts = result.parseoutcomes()
    assert counts.get(outcome, 0) + counts.get("errors", 0) == 3


def test_a_missing_program_names_what_to_install() -> None:
    """The reason names the program and where it comes from; a command that fails shows the end of its output."""
    with pytest.raises(MissingError, match=r"no `no-such-program` on PATH \(apt-get install it\)"):
        tool("no-such-program", "apt-get install it")
    with pytest.raises(MissingError, match=r"trying failed \(3\): words"):
        ran(["sh", "-c", "echo words; exit 3"], what="trying")


def test_what_killed_runs_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old directory of a process that is gone is deleted; a young one, and that of a living process, stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    pids = {"old": gone.pid, "young": gone.pid, "mine": os.getpid()}
    names = {kind: f"shipper-tests-{pid}-sink-{kind}" for kind, pid in pids.items()}
    for kind, name in names.items():
        (tmp_path / name / "data").mkdir(parents=True)
        if kind != "young":
            os.utime(tmp_path / name, (0, 0))
    made = scratch("sink")
    assert {made.name, names["young"], names["mine"]} == {path.name for path in tmp_path.iterdir()}
