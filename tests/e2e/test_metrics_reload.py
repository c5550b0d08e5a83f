"""SIGHUP and the rules: who keeps its value, who starts anew, and that nothing else is touched."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from command import Running, run_to_end

KEPT = "  - {name: kept_total, type: counter, labels: {x: x}}\n"
CHANGED = "  - {name: changed_total, type: counter, when: v > 1}\n"
SHOWN = "  - {name: share, type: ratio, value: v > 1}\n"
GONE = "  - {name: gone_total, type: counter, labels: {x: x}}\n"


class Reloading:
    """A daemon whose rules are written anew."""

    def __init__(self, directory: Path, shipper: Running) -> None:
        self._directory = directory
        self.shipper = shipper
        self._reloads = 0

    def rules(self, text: str) -> None:
        """Puts other rules in force."""
        (self._directory / "rules.yml").write_text(f"rules:\n{text}")
        self.shipper.signal(signal.SIGHUP)
        self._reloads += 1
        self.shipper.wait_for(lambda: self.shipper.log.count("configuration reloaded") == self._reloads, "the reload")

    def write(self, *lines: dict[str, object]) -> None:
        with (self._directory / "logs/app.log").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def wait(self, name: str, value: float, **labels: str) -> None:
        self.shipper.wait_for(lambda: self.shipper.metric(name, **labels) == value, f"{name} {labels} {value}")

    def created(self, name: str) -> set[str]:
        text = self.shipper.get("/metrics?collect=rules", accept="application/openmetrics-text")[1]
        return {line for line in text.splitlines() if line.startswith(f"{name}_created")}


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Reloading]:
    """With three rules, and a line that all of them have counted."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/app.log").touch()
    (tmp_path / "rules.yml").write_text(f"rules:\n{KEPT}{CHANGED}{SHOWN}{GONE}")
    (tmp_path / "shipper.yml").write_text(
        "state: state\nsources: [{name: app, paths: [logs/*.log]}]\noutput: {local: {directory: out}}\n"
        "metrics: {rules: [rules.yml], created: true}\n"
    )
    with Running("-c", tmp_path / "shipper.yml", directory=tmp_path) as shipper:
        found = Reloading(tmp_path, shipper)
        found.write({"x": "a", "v": 5}, {"x": "a", "v": 1})
        for name, value in (("kept_total", 2), ("changed_total", 1), ("share", 0.5), ("gone_total", 2)):
            found.wait(name, value)
        yield found
        assert shipper.stop() == 0


def test_a_rule_keeps_its_value_exactly_if_it_means_the_same(reloading: Reloading) -> None:
    """Another help, budget or order changes nothing; another condition starts at 0, with a time of its own."""
    before = {name: reloading.created(name) for name in ("kept", "changed")}
    changed = CHANGED.replace("v > 1", "v > 0")
    reloading.rules(f"{changed}{KEPT.replace('type:', 'help: Kept., max_values: 7, type:')}{SHOWN}{GONE}")
    assert reloading.shipper.metric("kept_total", x="a") == 2
    assert reloading.shipper.metric("share") == 0.5
    assert reloading.shipper.metric("changed_total") == 0
    reloading.write({"x": "a", "v": 5}, {"x": "b", "v": 1})
    reloading.wait("changed_total", 2)
    assert reloading.shipper.metric("kept_total", x="a") == 3
    assert reloading.shipper.metric("share") == 0.5
    assert reloading.created("kept") > before["kept"]
    assert reloading.created("changed").isdisjoint(before["changed"])


def test_a_rule_that_went_and_came_back_starts_anew(reloading: Reloading) -> None:
    """Its lines in between were nobody's; the others have counted on, and its own metrics go with it."""
    before = reloading.created("gone")
    reloading.rules(KEPT)
    assert reloading.shipper.metric("gone_total") == 0
    assert "gone_total" not in reloading.shipper.get("/metrics?collect=rules")[1]
    assert 'shipper_series{rule="gone_total"}' not in reloading.shipper.get("/metrics")[1]
    reloading.write({"x": "a"})
    reloading.wait("kept_total", 3)
    reloading.rules(KEPT + GONE)
    reloading.write({"x": "a"})
    reloading.wait("kept_total", 4)
    assert reloading.shipper.metric("gone_total", x="a") == 1
    assert reloading.created("gone").isdisjoint(before)


def test_a_rule_of_a_bad_file_leaves_all_as_it_was(reloading: Reloading, tmp_path: Path) -> None:
    """The message names file, line and column; counting goes on."""
    (tmp_path / "rules.yml").write_text(f"rules:\n{KEPT}  - {{name: b_total, type: counter, when: v >}}\n")
    reloading.shipper.signal(signal.SIGHUP)
    reloading.wait("shipper_config_last_reload_successful", 0)
    assert "rules.yml:3: rule b_total: when: column 4: expected" in reloading.shipper.log
    reloading.write({"x": "a", "v": 5})
    reloading.wait("kept_total", 3)
    reloading.wait("changed_total", 2)


def test_a_rule_file_that_is_being_written_resets_nothing(reloading: Reloading, tmp_path: Path) -> None:
    """Whoever saves it empties it first; a reload in that moment leaves the rules that were."""
    (tmp_path / "rules.yml").write_text("")
    reloading.shipper.signal(signal.SIGHUP)
    reloading.shipper.wait_for(lambda: "rules.yml:1: is empty" in reloading.shipper.log, "the refusal")
    reloading.rules(KEPT)
    reloading.wait("kept_total", 2)


def test_routes_take_effect_with_a_reload(reloading: Reloading, tmp_path: Path) -> None:
    """Lines from then on have the routes that are written down; what was counted stays where it is."""
    rule = '  - {name: pages_total, type: counter, labels: {path: "route(url, status)"}}\n'
    reloading.rules(rule)
    reloading.write({"url": "/blog/hello", "status": 200}, {"url": "/wp-login.php", "status": 404})
    reloading.wait("pages_total", 1, path="/blog/hello")
    (tmp_path / "api.json").write_text(json.dumps({"paths": {"/api/{id}": {}}}))
    config = tmp_path / "shipper.yml"
    config.write_text(config.read_text().replace("created:", "routes: ['/blog/:slug'], openapi: api.json, created:"))
    reloading.rules(rule)
    reloading.write({"url": "/blog/hello", "status": 404}, {"url": "/wp-login.php", "status": 404}, {"url": "/api/x"})
    reloading.wait("pages_total", 1, path="/blog/:slug")
    reloading.wait("pages_total", 1, path=":unmatched")
    reloading.wait("pages_total", 1, path="/api/:id")
    assert reloading.shipper.metric("pages_total", path="/blog/hello") == 1
    assert reloading.shipper.metric("pages_total", path="/wp-login.php") == 1


def test_labels_that_a_scrape_has_as_well_are_warned_of(reloading: Reloading, tmp_path: Path) -> None:
    """In the log when they come in force, and by `check`; they are served all the same."""
    reloading.rules("  - {name: kept_total, type: counter, labels: {job: x}}\n")
    warning = "rules.yml:2: rule kept_total: Prometheus has a label job of its own"
    reloading.shipper.wait_for(lambda: warning in reloading.shipper.log, "the warning")
    reloading.write({"x": "a"})
    reloading.wait("kept_total", 1, job="a")
    ended = run_to_end("check", "-c", "shipper.yml", directory=tmp_path)
    assert ended.returncode == 0
    assert warning in ended.stdout


def test_what_rules_could_not_do_is_told(reloading: Reloading, tmp_path: Path) -> None:
    """By `status`, `/status.json` and the page; of the rules that are in force, with every metric's series."""
    reloading.rules(
        "  - {name: kept_total, type: counter, labels: {x: x}, max_values: 1}\n"
        "  - {name: v_total, type: counter, value: v}\n"
    )
    reloading.write({"x": "a", "v": -1}, {"x": "b", "v": "one"}, {"x": "c", "v": 2}, {"x": "c"})
    reloading.wait("kept_total", 3, x="__other__")
    reloading.wait("v_total", 2)
    told = json.loads(reloading.shipper.get("/status.json")[1])["metrics"]
    assert told == [
        {"name": "kept_total", "series": 2, "not_counted": {}, "overflow": {"x": 3}},
        {
            "name": "v_total",
            "series": 1,
            "not_counted": {"missing": 1, "not_a_number": 1, "negative": 1},
            "overflow": {},
        },
    ]
    assert "<td>kept_total</td><td>2</td><td></td><td>x 3</td>" in reloading.shipper.get("/")[1]
    ended = run_to_end("status", "-c", "shipper.yml", directory=tmp_path)
    assert ended.returncode == 0
    rows = [line.split(maxsplit=1)[1] for line in ended.stdout.splitlines() if line.startswith("metric ")]
    assert rows == [
        "kept_total: 3 lines under __other__: the label x has used up its budget",
        "v_total: 1 line not counted: missing",
        "v_total: 1 line not counted: not a number",
        "v_total: 1 line not counted: negative",
    ]


@pytest.mark.parametrize(("start", "counted"), [("beginning", 40), ("now", 20)])
def test_a_source_whose_metrics_pause_goes_on_where_they_were(tmp_path: Path, start: str, counted: int) -> None:
    """Switched off and on again: no line is counted twice, and with `now` those written meanwhile are not counted."""
    log, config = tmp_path / "logs/app.log", tmp_path / "shipper.yml"
    log.parent.mkdir()

    def write(count: int) -> None:
        with log.open("a") as file:
            file.writelines('{"a":1}\n' for _ in range(count))

    def configure(*, has_metrics: bool) -> None:
        config.write_text(
            f"state: state\nsources: [{{name: app, paths: [logs/], metrics: {str(has_metrics).lower()}}}]\n"
            f"output: {{local: {{directory: out}}}}\nmetrics: {{start: {start}, rules: [rules.yml]}}\n"
        )

    (tmp_path / "rules.yml").write_text("rules: [{name: seen_total, type: counter}]\n")
    configure(has_metrics=True)
    write(10)
    lines = 0
    with Running("-c", config, directory=tmp_path) as shipper:
        for reloads, has_metrics in ((0, True), (1, False), (2, True)):
            if reloads:
                configure(has_metrics=has_metrics)
                shipper.signal(signal.SIGHUP)
                shipper.wait_for(lambda n=reloads: shipper.log.count("configuration reloaded") == n, "the reload")
                shipper.wait_for(lambda: shipper.get("/readyz")[0] == 200, "the first look")
            write(10)
            lines += 10 if reloads else 20
            shipped = partial(shipper.metric, "shipper_documents_total", result="created")
            shipper.wait_for(lambda n=lines, count=shipped: count() == n, "all lines")
        shipper.wait_for(lambda: shipper.metric("seen_total") >= counted, "all counts")
        assert counted == shipper.metric("seen_total")


def test_metrics_that_pause_go_on_where_a_file_was_cut_meanwhile(tmp_path: Path) -> None:
    """What is written behind the cut is counted, although as much had been counted before."""
    log, config = tmp_path / "logs/app.log", tmp_path / "shipper.yml"
    log.parent.mkdir()
    (tmp_path / "rules.yml").write_text("rules: [{name: seen_total, type: counter}]\n")

    def write(numbers: range) -> None:
        with log.open("a") as file:
            file.writelines(f'{{"a":{number:04d}}}\n' for number in numbers)

    def configure(*, has_metrics: bool) -> None:
        config.write_text(
            f"state: state\nsources: [{{name: app, paths: [logs/], metrics: {str(has_metrics).lower()}}}]\n"
            "output: {local: {directory: out}}\nmetrics: {start: beginning, rules: [rules.yml]}\n"
        )

    configure(has_metrics=True)
    write(range(1000, 1020))
    with Running("-c", config, directory=tmp_path) as shipper:
        shipper.wait_for(lambda: shipper.metric("seen_total") == 20, "all counts")
        for has_metrics in (False, True):
            configure(has_metrics=has_metrics)
            shipper.signal(signal.SIGHUP)
            shipper.wait_for(lambda n=1 + has_metrics: shipper.log.count("configuration reloaded") == n, "the reload")
            if not has_metrics:
                shipper.wait_for(lambda: shipper.get("/readyz")[0] == 200, "the first look")
                with log.open("r+b") as file:
                    file.truncate(5 * len('{"a":1000}\n'))
                shipper.wait_for(lambda: "was truncated" in shipper.log, "the cut")
                write(range(2000, 2030))
        shipper.wait_for(lambda: shipper.metric("seen_total") >= 50, "all counts")
        assert 50 == shipper.metric("seen_total")
