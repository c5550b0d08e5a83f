"""What is read, written and named stays where it belongs, whoever writes into the log directories."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from command import SHIPPER, Running, documents_in, run_to_end
from harness.process import wait_until
from prometheus_client import CollectorRegistry

from shipper.attach import Attacher
from shipper.candidate import Asked
from shipper.confinement import Confinement, OutsideError
from shipper.discover import Found, scan, top_of
from shipper.register import Register
from shipper.settings import DEFAULT_SYMLINKS, MetricsStart, SourceSettings
from shipper.tail import open_log
from shipper.telemetry import Telemetry

SECRET = '{"message":"root:x:0:0"}\n'
LINE = '{"timestamp":"2024-01-15T10:30:45.123Z","message":"ours"}\n'


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The application's directory, and beside it what it must not make us read."""
    directory = tmp_path / "logs"
    directory.mkdir()
    (directory / "app.log").write_text(LINE)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow.log").write_text(SECRET)
    return directory


def source(*paths: Path | str, **options: Any) -> SourceSettings:
    return SourceSettings(name="a", paths=tuple(map(str, paths)), **options)


def found_in(*sources: SourceSettings) -> list[str]:
    return [Path(found.path).name for found in scan(sources).files]


# Symlinks -----------------------------------------------------------------------------------------------------------


def link_file(logs: Path) -> None:
    (logs / "x.log").symlink_to("../etc/shadow.log")


def link_absolute(logs: Path) -> None:
    (logs / "x.log").symlink_to(logs.parent / "etc" / "shadow.log")


def link_to_link(logs: Path) -> None:
    (logs / ".hidden").symlink_to("../etc")
    (logs / "x.log").symlink_to(".hidden/shadow.log")


def link_directory(logs: Path) -> None:
    (logs / "sub").symlink_to("../etc")


@pytest.mark.parametrize("link", [link_file, link_absolute, link_to_link, link_directory])
@pytest.mark.parametrize("pattern", ["*.log", "**/*.log", "*/*.log", ""])
def test_a_link_out_of_the_directories_is_not_followed(logs: Path, link: Callable[[Path], None], pattern: str) -> None:
    """Of a file or a directory, near or far; what was left out is said with where it leads."""
    link(logs)
    listing = scan([source(logs / pattern)])
    outside = [found for found in listing.files if "etc" in os.path.realpath(found.path)]
    assert outside == []
    expected = f"leads to '{logs.parent}/etc/shadow.log', out of its source's directories (symlinks allows it)"
    assert set(listing.left_out.values()) <= {expected}
    matches = link is not link_directory and pattern in ("*.log", "**/*.log", "")
    assert bool(listing.left_out) is (matches or (link is link_directory and pattern != "*.log" and pattern != ""))


@pytest.mark.parametrize("allowed", ["{0}/etc", "{0}/etc/*.log", "{0}/*/shadow.*"])
def test_a_link_to_what_is_allowed_is_followed(logs: Path, allowed: str) -> None:
    """A directory, or a pattern of real paths."""
    link_file(logs)
    one = source(logs / "*.log", symlinks=(allowed.format(logs.parent),))
    assert found_in(one) == ["app.log", "x.log"]


def test_a_link_within_the_directories_is_followed(logs: Path) -> None:
    """As Winston's `current.log`, and from one of a source's directories into another."""
    other = logs.parent / "other"
    other.mkdir()
    (other / "real.log").write_text(LINE)
    (logs / "current.log").symlink_to(other / "real.log")
    assert sorted(found_in(source(logs / "*.log", other / "*.txt"))) == ["app.log", "current.log"]


def test_a_directory_that_is_named_may_be_a_link(logs: Path) -> None:
    """Whoever wrote the path meant what it leads to."""
    (logs.parent / "named").symlink_to(logs)
    assert found_in(source(logs.parent / "named" / "*.log")) == ["app.log"]
    assert found_in(source(logs.parent / "named")) == ["app.log"]


def test_a_link_that_is_typed_is_followed(tmp_path: Path, logs: Path) -> None:
    """On the command line it is not the application that names it."""
    (tmp_path / "typed.log").symlink_to(logs / "app.log")
    done = run_to_end("run", "typed.log", "--once", directory=tmp_path)
    assert done.returncode == 0
    assert len(documents_in(tmp_path / "shipped")) == 1


def test_a_link_that_is_typed_leads_where_it_led_then(tmp_path: Path, logs: Path) -> None:
    """Who may swap it later does not get another file read, not even by a reload."""
    typed = logs / "typed.log"
    typed.symlink_to("../etc/shadow.log")
    (tmp_path / "etc" / "other.log").write_text(SECRET.replace("root", "other"))
    with Running("logs/typed.log", directory=tmp_path) as running:
        running.wait_for(lambda: running.metric("shipper_documents_total") >= 1, "a document")
        typed.unlink()
        typed.symlink_to("../etc/other.log")
        running.signal(signal.SIGHUP)
        running.wait_for(lambda: "other.log', out of its source's directories" in running.log, "that it is left out")
        assert running.metric("shipper_config_last_reload_successful") == 1
        assert running.stop() == 0
    assert [hit["_source"]["message"] for hit in documents_in(tmp_path / "shipped")] == ["root:x:0:0"]


KUBERNETES = [
    ("/var/log/pods/ns_pod_1b9f/app/0.log", True),
    ("/var/log/pods/ns_pod_1b9f/app/0.log.20240115-103045.gz", True),
    ("/var/lib/docker/containers/ab12/ab12-json.log", True),
    ("/var/lib/docker/containers/ab12/ab12-json.log.1", True),
    ("/var/lib/docker/containers/ab12/config.v2.json", False),
    ("/var/lib/docker/containers/ab12/mounts/shm", False),
    ("/var/lib/kubelet/pods/1b9f/volumes/kubernetes.io~secret/token", False),
    ("/etc/shadow", False),
]


@pytest.mark.parametrize(("path", "expected"), KUBERNETES)
def test_kubernetes_links_work_by_default(path: str, expected: bool) -> None:
    """From /var/log/containers to the logs of pods and of Docker's containers; not to what lies beside them."""
    assert Confinement(("/var/log/containers/",), DEFAULT_SYMLINKS).holds(path) is expected


TOPS = [
    ("/var/log/app/*.log", "/var/log/app"),
    ("/var/log/*/app.log", "/var/log"),
    ("/var/log/**", "/var/log"),
    ("/*/app.log", "/"),
    ("*.log", "."),
    ("logs/*/x", "logs"),
    ("/var/log/app.log", "/var/log"),
    ("app.log", "."),
]


@pytest.mark.parametrize(("pattern", "expected"), TOPS)
def test_what_a_pattern_names_without_wildcards(pattern: str, expected: str) -> None:
    """Its files lie there or below."""
    assert top_of(pattern) == expected


# What is swapped under us -------------------------------------------------------------------------------------------


def attach(found: Found) -> None:
    attacher = Attacher(scope="", metrics_start=MetricsStart.NOW, records=[])
    attacher.attach(found, live=Register(telemetry=Telemetry(registry=CollectorRegistry())), asked=Asked())


def test_a_file_that_became_a_link_after_the_look(logs: Path) -> None:
    """Another file is there than was found: it is looked for again."""
    [found] = scan([source(logs / "*.log")]).files
    (logs / "app.log").unlink()
    link_file(logs)
    (logs / "x.log").rename(logs / "app.log")
    with pytest.raises(FileNotFoundError):
        attach(found)


def test_a_link_that_was_swapped_during_the_look(logs: Path) -> None:
    """Its file was looked at when it led outside, its path when it led inside: what is open decides."""
    [found] = scan([source(logs / "*.log")]).files
    secret = (logs.parent / "etc" / "shadow.log").stat()
    (logs / "app.log").unlink()
    (logs / "app.log").symlink_to("../etc/shadow.log")
    swapped = found._replace(device=secret.st_dev, inode=secret.st_ino)
    with pytest.raises(OutsideError, match=r"leads to '.*/etc/shadow\.log', out of the source's directories"):
        attach(swapped)


def test_a_directory_that_was_swapped(logs: Path) -> None:
    """The same, one level up."""
    (logs / "sub").mkdir()
    (logs / "sub" / "shadow.log").write_text(LINE)
    [found] = scan([source(logs / "*" / "*.log")]).files
    secret = (logs.parent / "etc" / "shadow.log").stat()
    (logs / "sub").rename(logs / "old")
    link_directory(logs)
    with pytest.raises(FileNotFoundError):
        attach(found)
    with pytest.raises(OutsideError):
        attach(found._replace(device=secret.st_dev, inode=secret.st_ino))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [device, pipe, directory])
def test_what_is_no_file_is_never_opened(logs: Path, make: Callable[[Path], None]) -> None:
    """A pipe would wait for a writer, a device might do something when it is opened."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    make(logs / "x.log")
    assert found_in(source(logs / "*.log", symlinks=("/",))) == ["app.log"]
    with pytest.raises(OSError, match="not a regular file"):
        open_log(logs / "x.log")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("pattern", ["**/*.log", "*/*.log"])
def test_a_link_in_a_circle_hides_only_itself(logs: Path, pattern: str) -> None:
    """It cannot be asked what it leads to; the directories beside it are looked into all the same."""
    (logs / "loop").symlink_to("loop")
    (logs / "sub").mkdir()
    (logs / "sub" / "more.log").write_text(LINE)
    listing = scan([source(logs / pattern)])
    assert "more.log" in [Path(found.path).name for found in listing.files]
    assert {str(logs / "loop"): "Too many levels of symbolic links"} == listing.problems


def test_directories_without_end(logs: Path) -> None:
    """A thousand directories, one in the other, are left at a depth that no log has; what lies above is found."""
    (logs / "z").mkdir()
    (logs / "z" / "more.log").write_text(LINE)
    above = os.open(logs, os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=above)
        below = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    try:
        listing = scan([source(logs / "**/*.log")])
    finally:
        subprocess.run(["rm", "-r", logs / "d"], check=True)  # deeper than Python's own recursion, and pytest's with it
    assert ["app.log", "more.log"] == [Path(found.path).name for found in listing.files]
    assert ["more than 64 directories deep: not looked into further"] == list(listing.problems.values())


def test_a_daemon_among_traps(tmp_path: Path, logs: Path) -> None:
    """Links, pipes, devices and directories beside a log: its lines are shipped, nothing else is, and it says so."""
    for make, name in ((device, "d.log"), (pipe, "p.log"), (directory, "dir.log"), (pipe, "p.log.gz")):
        make(logs / name)
    link_file(logs)
    (logs / "loop.log").symlink_to("loop.log")
    config = tmp_path / "shipper.yml"
    config.write_text(f"sources: [{{name: a, paths: ['{logs}/**']}}]\nmetrics: {{start: beginning}}\n")
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: running.metric("shipper_documents_total") >= 1, "a document")
        (logs / "app.log").unlink()
        (logs / "app.log").symlink_to("../etc/shadow.log")
        with (logs / "more.log").open("w") as more:
            more.write(LINE.replace("ours", "more"))
        running.wait_for(lambda: running.metric("shipper_documents_total") >= 2, "the next")
        assert running.stop() == 0
        assert "x.log' is not followed: leads to" in running.log
    assert [hit["_source"]["message"] for hit in documents_in(tmp_path / "shipped")] == ["ours", "more"]


# What is written ----------------------------------------------------------------------------------------------------


def modes(top: Path) -> Iterator[tuple[Path, int]]:
    yield top, stat.S_IMODE(top.stat().st_mode)
    for path in top.rglob("*"):
        yield path, stat.S_IMODE(path.stat().st_mode)


def test_the_state_is_for_its_owner(tmp_path: Path, logs: Path) -> None:
    """State, dead letters, ledger and control socket, whatever the umask: they hold what was in the lines."""
    future = '{"timestamp":"2098-01-01T00:00:00Z","message":"for the dead letters"}\n'
    (logs / "app.log").write_text(LINE + future)
    command = ["run", str(logs), "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*SHIPPER, *command], cwd=tmp_path, stderr=subprocess.DEVNULL, umask=0)
    try:
        wait_until(
            lambda: (tmp_path / "state" / "control.sock").exists() and any(tmp_path.glob("state/dead-letter/*")),
            what="the state",
            timeout_seconds=60,
        )
        state = [*modes(tmp_path / "state"), *modes(tmp_path / "shipped" / ".shipper")]
    finally:
        process.terminate()
        process.wait()
    open_to_others = {str(path.relative_to(tmp_path)): oct(mode) for path, mode in state if mode & 0o077}
    assert open_to_others == {}
    assert len(state) > 5


HOSTILE_LINES = [
    '{"timestamp":"../../etc/cron.d/x","_index":"other","index":"other","message":"a"}',
    '{"timestamp":"2024-01-15T10:30:45Z","@timestamp":"2024-01-15/../../x","_id":"../x","_index":"../y"}',
    '{"timestamp":"2024-01-15T10:30:45+99:99","message":"a"}',
    '{"timestamp":"9999-99-99T99:99:99Z"}',
    '{"timestamp":"\u0662\u0660\u0662\u0664-01-15T10:30:45Z"}',
    '{"timestamp":{"$date":"2024-01-15"},"date":"2024-01-15,.security"}',
    '{"timestamp":1e400}',
    '{"timestamp":-99999999999999999999}',
    '{"timestamp":"2024-01-15T10:30:45Z\\n{\\"delete\\":{\\"_index\\":\\"other\\"}}"}',
    "%{+yyyy.MM.dd} ../../x",
]


def test_no_line_chooses_its_index(tmp_path: Path, logs: Path) -> None:
    """An index's name is the pattern with a date of digits, whatever a line says; so are the names of day files."""
    (logs / "app.log").write_text("\n".join(HOSTILE_LINES) + "\n")
    done = run_to_end("run", "logs", "--once", directory=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    hits = documents_in(tmp_path / "shipped")
    assert len(hits) == len(HOSTILE_LINES)
    name = re.compile(r"logs-(20[0-9]{2}\.[0-9]{2}\.[0-9]{2}|undated)", re.ASCII)
    assert [hit["_index"] for hit in hits if not name.fullmatch(hit["_index"])] == []
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9]{10}-[0-9a-f]{8}", hit["_id"]) for hit in hits)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"logs", "etc", "shipped"}
    assert [path.name for path in (tmp_path / "shipped").glob("*") if not path.name.startswith(("logs-", "."))] == []


# Bombs --------------------------------------------------------------------------------------------------------------


def gzip_bomb(path: Path) -> None:
    """300 MB of NULs, a thousandth of it on disk."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = bytes(1 << 20)
    path.write_bytes(b"".join(pack.compress(piece) for _ in range(300)) + pack.flush())


def gzip_of_lines(path: Path) -> None:
    """Four million empty lines."""
    path.write_bytes(zlib.compress(b"\n" * (4 << 20), 9, 31))


def zstd_bomb(path: Path) -> None:
    """300 MB in some kilobytes."""
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(bytes(300 << 20)))


def gzip_of_blanks(path: Path) -> None:
    """300 MB of blank lines with NULs between them."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b"\n\0 \r" * (1 << 18)
    path.write_bytes(b"".join(pack.compress(piece) for _ in range(300)) + pack.flush())


def zstd_window(path: Path) -> None:
    """A frame that wants 128 MiB of memory to be read."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    path.write_bytes(zstandard.ZstdCompressor(compression_params=parameters).compress(os.urandom(200 << 10) * 700))


def sparse_line(path: Path) -> None:
    """A plain file that claims half a gigabyte without a line's end."""
    with path.open("wb") as file:
        file.truncate(512 << 20)


BOMBS: Sequence[tuple[Callable[[Path], None], str]] = [
    (gzip_bomb, "b.log.gz"),
    (gzip_of_lines, "b.log.gz"),
    (gzip_of_blanks, "b.log.gz"),
    (zstd_bomb, "b.log.zst"),
    (zstd_window, "b.log.zst"),
    (sparse_line, "b.log"),
]

CHILD = """\
import re, sys
from shipper.cli import main
try:
    main(sys.argv[1:])
finally:
    print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.parametrize(("make", "name"), BOMBS)
def test_a_bomb_costs_time_and_no_memory(tmp_path: Path, logs: Path, make: Callable[[Path], None], name: str) -> None:
    """Whatever a file unfolds to: the process stays below 120 MB, and the file beside it is shipped."""
    make(logs / name)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "run", "logs", "--once"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1, 3), done.stderr
    messages = [hit["_source"].get("message", "") for hit in documents_in(tmp_path / "shipped")]
    assert "ours" in messages
    assert int(done.stdout) < 120_000, done.stderr[-500:]
