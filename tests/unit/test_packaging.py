"""What must hold of the Makefile, the lock files, the unit and the containers without running any of them."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from harness.missing import MissingError

from shipper import __version__, config
from shipper.config import CommandLine

ROOT = Path(__file__).parents[2]
LOCKS = ("run.lock", "ci.lock")
HIGHEST_EXPOSURE = 1.2
"""`systemd-analyze security` of our unit; the network, the group adm and /proc are what it must keep."""


def text(path: str) -> str:
    """A file of the checkout."""
    return (ROOT / path).read_text(encoding="utf-8")


def load_lowest() -> ModuleType:
    """The script that makes the constraints, as a module."""
    spec = importlib.util.spec_from_file_location("lowest", ROOT / "requirements" / "lowest.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lowest = load_lowest()


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    """setup.cfg."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text("setup.cfg"))
    return parser


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, its merges resolved."""
    loaded = yaml.safe_load(text("docker/compose.yml"))
    assert isinstance(loaded, dict)
    return loaded


def locked(name: str) -> dict[str, str]:
    """Version by package of a lock file."""
    return dict(lowest.locked(text(f"requirements/{name}").splitlines()))


def unit() -> dict[str, list[str]]:
    """The unit's directives; one that stands more than once has more than one value."""
    found: dict[str, list[str]] = {}
    for line in text("systemd/shipper.service").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_every_makefile_target_that_the_documents_name_exists() -> None:
    """Each `make X` in the README and in the install guide is a target."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), flags=re.MULTILINE))
    named = {
        target
        for document in ("README.md", "docs/install.md")
        for target in re.findall(r"^\s*(?:\$ )?make ([a-z-]+)", text(document), flags=re.MULTILINE)
    }
    assert named <= targets
    assert {"run", "test"} <= named


def test_make_run_and_make_test_come_first_in_the_readme() -> None:
    """The two commands are the first that the README shows."""
    commands = re.findall(
        r"^\s*(?:\$ )?(make [a-z-]+|pip install|shipper [a-z]+)", text("README.md"), flags=re.MULTILINE
    )
    assert commands[:2] == ["make run", "make test"]


def test_help_lists_every_target() -> None:
    """`make help` has a line for each target that is meant for people."""
    make = text("Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", make, flags=re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(re.findall(r"^([a-z-]+):.*## ", make, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("click>=8.1.7", {"click": "8.1.7"}),
        ("elasticsearch>=8.19,<9", {"elasticsearch": "8.19"}),
        ("PyYAML >=6.0.2 , <7", {"pyyaml": "6.0.2"}),
        ("prometheus_client[twisted]>=0.21; python_version>'3.10'", {"prometheus-client": "0.21"}),
        ("pinned==1.0", {"pinned": "1.0"}),
    ],
)
def test_the_lowest_version_is_the_lower_bound(requirement: str, expected: dict[str, str]) -> None:
    """Names are compared as indexes do, and only the lower bound counts."""
    assert lowest.lowest([requirement]) == expected


@pytest.mark.parametrize("requirement", ["click", "click<9", "click~=8.1", ">=1"])
def test_a_requirement_without_a_lower_bound_is_refused(requirement: str) -> None:
    """A bound that `make mindeps` could not test is an error, not a guess."""
    with pytest.raises(ValueError, match="lower bound"):
        lowest.lowest([requirement])


def test_min_deps_pins_every_dependency_to_its_lower_bound(metadata: configparser.ConfigParser) -> None:
    """Each requirement of setup.cfg is in the constraints once, at its bound; the lock adds only others."""
    constraints = lowest.constraints(ROOT / "setup.cfg", ROOT / "requirements" / "ci.lock")
    names = [line.partition("==")[0] for line in constraints]
    assert len(names) == len(set(names))
    for requirement in metadata["options"]["install_requires"].split():
        name, _, bounds = requirement.partition(">=")
        assert f"{lowest.canonical(name)}=={bounds.split(',')[0]}" in constraints


def test_the_locks_cover_what_is_installed(metadata: configparser.ConfigParser) -> None:
    """run.lock has every dependency, ci.lock those and the test extra, and both agree."""
    run, ci = locked("run.lock"), locked("ci.lock")
    wanted = lowest.lowest(lowest.install_requires(ROOT / "setup.cfg")).keys()
    extra = metadata["options.extras_require"]["test"].split()
    assert wanted <= run.keys()
    assert {lowest.canonical(re.split(r"[><=]", line)[0]) for line in extra} <= ci.keys()
    assert run == {name: ci[name] for name in run}


def test_the_locks_are_not_below_the_bounds() -> None:
    """A bound raised in setup.cfg without `make lock` is noticed."""
    run = locked("run.lock")
    for name, bound in lowest.lowest(lowest.install_requires(ROOT / "setup.cfg")).items():
        have = [int(part) for part in re.findall(r"\d+", run[name])]
        assert have >= [int(part) for part in re.findall(r"\d+", bound)], name


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    """pip refuses anything else than what was locked."""
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text(f"requirements/{name}"), flags=re.MULTILINE))
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("path", ["requirements/run.lock", "requirements/ci.lock", "requirements/ci.in", "Makefile"])
def test_no_index_is_named(path: str) -> None:
    """Where packages come from is the machine's business: no URL and no index option."""
    assert re.findall(r"https?://|--(?:extra-)?index-url|find-links|trusted-host", text(path)) == []


def test_the_node_lock_names_no_registry() -> None:
    """The sample service installs from whatever registry npm is set to, and only what was locked."""
    lock = json.loads(text("docker/sample-app/package-lock.json"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package] == []


def test_the_unit_is_a_supervised_notify_service() -> None:
    """Readiness, watchdog, restart and stop are as the daemon needs them."""
    have = unit()
    assert have["Type"] == ["notify"]
    assert have["NotifyAccess"] == ["main"]
    assert int(have["WatchdogSec"][0]) >= 30
    assert have["Restart"] == ["always"]
    assert have["RestartPreventExitStatus"] == ["2"]
    assert have["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(have["TimeoutStopSec"][0]) > 5
    assert have["StateDirectory"] == ["shipper"]


def test_the_unit_keeps_what_reading_logs_needs_and_nothing_else() -> None:
    """No capability, a read-only system, the group that may read /var/log, and only the network's address families."""
    have = unit()
    assert have["CapabilityBoundingSet"] == [""]
    assert have["ProtectSystem"] == ["strict"]
    assert have["SupplementaryGroups"] == ["adm"]
    assert set(have["RestrictAddressFamilies"][0].split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert have["LimitCORE"] == ["0"]


def test_the_user_of_the_unit_is_made_by_sysusers() -> None:
    """User= and Group= name what shipper.sysusers makes, with the unit's state directory as its home."""
    have = unit()
    assert have["User"] == have["Group"] == ["shipper"]
    assert re.search(r'^u shipper - "[^"]+" /var/lib/shipper$', text("systemd/shipper.sysusers"), flags=re.MULTILINE)


def test_tmpfiles_makes_where_the_unit_looks_for_its_configuration() -> None:
    """The directory of `-c` in ExecStart= is there before the first start."""
    file = re.search(r"-c (\S+)", unit()["ExecStart"][0])
    assert file
    assert re.search(rf"^d {Path(file[1]).parent} ", text("systemd/shipper.tmpfiles"), flags=re.MULTILINE)


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs it on the unit; its absence skips the test, and fails it in CI."""
    if not shutil.which("systemd-analyze"):
        raise MissingError("systemd-analyze (systemd)")
    command = ["systemd-analyze", *arguments, str(ROOT / "systemd" / "shipper.service")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_to_say_about_the_unit() -> None:
    """`verify` warns about unknown keys and bad values with status 0, so its output must be empty."""
    done = systemd_analyze("verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposure_of_the_unit_stays_low() -> None:
    """`security` rates the unit at or below the recorded threshold."""
    done = systemd_analyze("security", "--offline=true", "--no-pager", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_image_runs_without_privileges_and_without_a_compiler() -> None:
    """A numeric user, wheels only, a stop signal that drains, a health check that needs no curl."""
    dockerfile = text("docker/Dockerfile")
    final = dockerfile[dockerfile.rindex("FROM ") :]
    assert "USER 10001:10001" in final
    assert "RUN" not in final
    assert "STOPSIGNAL SIGTERM" in final
    assert "HEALTHCHECK" in final
    assert "--only-binary :all:" in dockerfile
    assert "--require-hashes --requirement requirements/run.lock" in dockerfile
    assert f"ARG VERSION={__version__}" in final


def test_everything_that_the_image_copies_exists_and_is_let_through() -> None:
    """Each COPY from the context is in the checkout and in .dockerignore's list."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("docker/Dockerfile"), flags=re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    allowed = set(re.findall(r"^!(.+)$", text(".dockerignore"), flags=re.MULTILINE))
    assert sources == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ELASTICSEARCH_URL": "http://shipper:secret@elasticsearch:9200", "SHIPPER_PATHS": "/logs/*.log*"},
        {"ELASTICSEARCH_USERNAME": "shipper", "ELASTICSEARCH_PASSWORD_FILE": "/run/secrets/password"},
        {"ELASTICSEARCH_API_KEY_FILE": "/run/secrets/key", "ELASTICSEARCH_CA_FILE": "/run/secrets/ca.pem"},
    ],
    ids=["nothing", "URL", "password", "API key"],
)
def test_the_images_configuration_loads(environ: dict[str, str]) -> None:
    """docker/shipper.yml is complete with nothing set, and listens where other containers reach it."""
    found = config.load(ROOT / "docker" / "shipper.yml", environ=environ, command_line=CommandLine(directory=ROOT))
    assert found.settings.metrics.listen == "0.0.0.0:9640"
    assert found.settings.state == "/var/lib/shipper"
    assert found.settings.sources[0].paths == (environ.get("SHIPPER_PATHS", "/logs"),)
    assert found.settings.output.elasticsearch is not None


def test_the_compose_stack_has_all_of_its_services(compose: dict[str, Any]) -> None:
    """The service that writes, the shipper beside it, and what shows their logs and numbers."""
    services = {"elasticsearch", "kibana", "prometheus", "grafana", "shipper", "sample-app"}
    assert services <= compose["services"].keys()


def test_the_compose_files_references_exist(compose: dict[str, Any]) -> None:
    """Build contexts, Dockerfiles and bind mounts are in the checkout; named volumes are declared."""
    base = ROOT / "docker"
    missing = []
    for service in compose["services"].values():
        build = service.get("build")
        if build and not (base / build["context"] / build.get("dockerfile", "Dockerfile")).exists():
            missing.append(build)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            is_there = (base / source).exists() if source.startswith(".") else source in compose["volumes"]
            if not is_there:
                missing.append(volume)
    assert missing == []


def test_every_image_of_the_stack_is_pinned(compose: dict[str, Any]) -> None:
    """No `latest`: what is not built here has a version."""
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    assert images
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+$", image)] == []


def test_the_stack_is_not_open_to_the_network(compose: dict[str, Any]) -> None:
    """Each published port is on loopback, and no password stands in the file."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    passwords = re.findall(r"^\s+\w*PASSWORD\w*: (.*)$", text("docker/compose.yml"), flags=re.MULTILINE)
    assert passwords
    assert [password for password in passwords if not password.startswith("${")] == []


def test_every_variable_of_the_stack_is_in_the_example(compose: dict[str, Any]) -> None:
    """docker/.env.example names what docker/compose.yml asks for."""
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text("docker/compose.yml")))
    given = set(re.findall(r"^([A-Z_]+)=", text("docker/.env.example"), flags=re.MULTILINE))
    assert asked == given


def test_the_sidecar_reads_the_logs_and_can_write_only_its_state(compose: dict[str, Any]) -> None:
    """Logs are mounted read-only, the root file system is read-only, no capability is left, memory is limited."""
    shipper = compose["services"]["shipper"]
    assert "logs:/logs:ro" in shipper["volumes"]
    assert "shipper-state:/var/lib/shipper" in shipper["volumes"]
    assert shipper["read_only"] is True
    assert shipper["cap_drop"] == ["ALL"]
    assert shipper["mem_limit"]


def test_prometheus_keeps_thirty_days_and_scrapes_the_shipper(compose: dict[str, Any]) -> None:
    """Retention is a flag of the server; the target is the service's name and port."""
    assert "--storage.tsdb.retention.time=30d" in compose["services"]["prometheus"]["command"]
    jobs = {job["job_name"]: job for job in yaml.safe_load(text("conf/prometheus/prometheus.yml"))["scrape_configs"]}
    assert jobs["shipper"]["static_configs"] == [{"targets": ["shipper:9640"]}]


def test_promtool_accepts_the_configuration() -> None:
    """The real Prometheus reads conf/prometheus/prometheus.yml."""
    if not shutil.which("promtool"):
        raise MissingError("promtool (prometheus)")
    command = ["promtool", "check", "config", str(ROOT / "conf" / "prometheus" / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
