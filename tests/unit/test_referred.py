"""The files that a configuration refers to: their rules, and everything that is wrong with them, at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from command import run_to_end

from shipper.errors import ConfigError
from shipper.referred import file_problems, rules_of
from shipper.settings import MetricsSettings, Settings, SourceSettings

MISTAKES = """\
sources: [{name: a, paths: [a.log]}, {name: b}]
metrics:
  routes: ["/a/:id", "no/slash"]
  openapi: nowhere.json
  rules: [rules.yml, none.yml]
  web_config: nowhere.yml
redact: {pack: [credentials]}
identity_key_file: nowhere.key
"""
RULES = """\
rules:
  - {name: a_total, type: counter, when: "metod == 'GET'", source: b}
  - {name: bytes, type: counter}
"""


def settings(**metrics: object) -> Settings:
    changed = msgspec.structs.replace(MetricsSettings(), **metrics)
    return Settings(sources=(SourceSettings(name="a", paths=("x",)),), state="s", metrics=changed)


def test_rules_of_an_unknown_source_are_refused(tmp_path: Path) -> None:
    """A rule that names a source which does not exist would never count."""
    rules = tmp_path / "rules.yml"
    rules.write_text("rules: [{name: x_total, type: counter, help: X., source: nobody}]\n")

    with pytest.raises(ConfigError, match="no source 'nobody'; there are a"):
        rules_of(settings(rules=(str(rules),)))


def test_without_rule_files_the_two_http_rules_apply() -> None:
    """Their names are the interface's."""
    names = [rule.name for rule in rules_of(settings())]

    assert names == ["http_requests_total", "http_request_duration_seconds"]


def test_one_missing_file_hides_no_other(tmp_path: Path) -> None:
    """Nor what is wrong in those that are there; the default rules stand in for none of them."""
    (tmp_path / "rules.yml").write_text(RULES)
    rules = (str(tmp_path / "rules.yml"), str(tmp_path / "none.yml"))
    found = settings(openapi="/nowhere.json", rules=rules, web_config="/nowhere.yml")
    problems = file_problems(found)
    parts = ["none.yml' matches no file", "metrics.openapi: '/nowhere.json'", "rules.yml:3: rule bytes: name:"]
    assert [part for part in [*parts, "/nowhere.yml"] if not any(part in problem for problem in problems)] == []
    assert len(problems) == 4
    with pytest.raises(ConfigError) as caught:
        rules_of(found, known=["before"])
    assert caught.value.problems == ["before", *problems[:3]]
    assert rules_of(settings(rules=rules[:0])) != []


@pytest.mark.parametrize("command", ["check", "run", "explain"])
def test_all_mistakes_are_told_at_once(tmp_path: Path, command: str) -> None:
    """Those of the configuration, with their lines, then those of the files that it refers to. A rule may name a source
    that could not be read itself."""
    (tmp_path / "shipper.yml").write_text(MISTAKES)
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "a.log").write_text("{}\n")
    ended = run_to_end(command, "-c", "shipper.yml", *(["a.log"] if command == "explain" else []), directory=tmp_path)
    assert ended.returncode == 2
    parts = [
        "shipper.yml:1: sources[1].paths: is missing",
        "shipper.yml:3: metrics.routes[1]: expected a path that begins with /",
        "shipper.yml:7: redact.pack: unknown key, did you mean packs?",
        "nowhere.key",
        "metrics.rules: ",
        "metrics.openapi: ",
        "rules.yml:3: rule bytes: name:",
        "nowhere.yml",
    ]
    assert [part for part in parts if part not in ended.stderr] == []
    assert "no source" not in ended.stderr
    assert len(ended.stderr.splitlines()) == len(parts)


def test_run_tells_of_all_files_at_once(tmp_path: Path) -> None:
    """A configuration that is good itself; nothing is made or opened before."""
    text = (
        MISTAKES.replace(", {name: b}", "").replace(', "no/slash"', "").replace("redact: {pack: [credentials]}\n", "")
    )
    (tmp_path / "shipper.yml").write_text(text)
    (tmp_path / "rules.yml").write_text(RULES)
    ended = run_to_end("run", "-c", "shipper.yml", directory=tmp_path)
    assert ended.returncode == 2
    for part in ("nowhere.key", "none.yml", "nowhere.json", "rules.yml:3:", "nowhere.yml"):
        assert part in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.yml", "shipper.yml"]
