"""docs/metrics.md: its recipe works as it stands, its numbers are the program's, the tests that it names are there."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from pathlib import Path

import yaml
from click.testing import CliRunner
from harness.prometheus import promtool

from exporter import exemplars, sampling, windows
from exporter.births import BIRTH_SECONDS, KEPT_SECONDS
from exporter.counting import MAX_LABEL_CHARACTERS
from exporter.rule import BUDGETS, DEFAULT_EXPIRE_SECONDS, DEFAULT_WINDOW_SECONDS, RuleType
from exporter.rules import default_rules, load_rules
from shipper import suggest
from shipper.cli import main
from shipper.telemetry import RULE_ERRORS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/metrics.md").read_text()


def _part(heading: str) -> str:
    return TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_every_test_that_is_named_is_there() -> None:
    """A case that names a test which was renamed or deleted would be shown by nothing."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    functions = {
        path: {
            node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
        }
        for path in {path for path, _ in named}
    }
    assert len(named) > 15
    assert [] == [f"{path}::{name}" for path, name in named if name not in functions[path]]


def test_the_recipe_works_as_it_stands(tmp_path: Path) -> None:
    """The line, the two files, and what explain says of them."""
    recipe = _part("A rule of your own in ten minutes")
    rules, config = (textwrap.dedent(text) for text in re.findall(r" {3}```yaml\n(.*?) {3}```", recipe, re.DOTALL))
    (line,) = re.findall(r"^ +(\{\"time\".*\})$", recipe, re.MULTILINE)
    (tmp_path / "labels.yml").write_text(rules)
    (tmp_path / "shipper.yml").write_text(config)
    (tmp_path / "labels.log").write_text(line + "\n")
    said = re.findall(r"^ +(metric +label.*)$", recipe, re.MULTILINE)
    assert len(said) == 2
    arguments = ["explain", "-c", str(tmp_path / "shipper.yml"), str(tmp_path / "labels.log")]
    shown = CliRunner().invoke(main, arguments).output
    assert [row for row in shown.splitlines() if row.startswith("metric")] == said
    (tmp_path / "labels.log").write_text(line.replace('"pages":3,', "") + "\n")
    (without,) = re.findall(r"`(not by +label_\w+: missing \(no pages\))`", recipe)
    assert without in CliRunner().invoke(main, arguments).output


def test_the_alert_of_the_recipe_fires_and_keeps_silent(tmp_path: Path) -> None:
    """As promtool sees it, and the cases would notice if it did not fire or said something else."""
    recipe = _part("A rule of your own in ten minutes")
    alert, cases = re.findall(r"^```yaml\n(.*?)```", recipe, re.DOTALL | re.MULTILINE)
    (tmp_path / "alerts.yml").write_text(alert)
    (tmp_path / "alerts-test.yml").write_text(cases)
    done = promtool("test", "rules", tmp_path / "alerts-test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "alerts.yml").write_text(alert.replace("> 2", "> 5"))
    assert promtool("test", "rules", tmp_path / "alerts-test.yml").returncode == 1


def test_the_numbers_of_suggestions_are_those_of_the_program() -> None:
    """A hundred names, or twenty that are mostly rare; a twentieth keeps a name its own."""
    assert (suggest.MANY_NAMES, suggest.FEW_NAMES, suggest.RARE_LINES, suggest.KEPT_SHARE) == (100, 20, 2, 1 / 20)
    assert suggest.SAMPLE_BYTES == 1 << 20


def test_every_type_has_its_row() -> None:
    """In the order in which messages name them."""
    assert re.findall(r"^\| `(\w+)` \|", _part("Types"), re.MULTILINE) == [kind.value for kind in RuleType]


def test_there_is_a_rule_of_each_type(tmp_path: Path) -> None:
    """Each counts some of the lines above them, and none cannot count one that it is about."""
    part = _part("Types").partition("### One of each")[2]
    (rules,) = re.findall(r"^```yaml\n(.*?)```", part, re.DOTALL | re.MULTILINE)
    (tmp_path / "rules.yml").write_text(rules)
    (tmp_path / "shipper.yml").write_text("sources: [{name: p, paths: [p.log]}]\nmetrics: {rules: [rules.yml]}\n")
    lines = re.findall(r"^    (\{.*\})$", part, re.MULTILINE)
    arguments = ["explain", "--json", "-c", str(tmp_path / "shipper.yml"), "-"]
    shown = CliRunner().invoke(main, arguments, input="".join(f"{line}\n" for line in lines)).output
    explained = [json.loads(row) for row in shown.splitlines()]
    assert len(explained) == len(lines) == 3
    assert [line["time"] is None for line in explained] == [False] * 3
    found = load_rules([tmp_path / "rules.yml"])
    assert {rule.type for rule in found} == set(RuleType)
    assert {series.partition("{")[0] for line in explained for series in line["series"]} == {
        rule.name for rule in found
    }
    assert [line["rule_errors"] for line in explained] == [{}] * 3


def test_every_reason_is_explained() -> None:
    """Those of `shipper_rule_errors_total`."""
    part = _part("Lines that a rule cannot count")
    assert [] == [reason for reason in RULE_ERRORS if f"`{reason}`" not in part]


def test_the_numbers_are_those_of_the_program() -> None:
    """Windows, budgets, limits and times, as the text says them."""
    kinds = {kind: (budget.max_values, budget.max_series) for kind, budget in BUDGETS.items()}
    assert kinds == {
        RuleType.COUNTER: (1_000, 10_000),
        RuleType.HISTOGRAM: (1_000, 10_000),
        RuleType.GAUGE: (1_000, 10_000),
        RuleType.RATIO: (1_000, 1_000),
        RuleType.MAX: (1_000, 1_000),
        RuleType.DISTINCT: (100, 100),
    }
    assert (DEFAULT_EXPIRE_SECONDS, DEFAULT_WINDOW_SECONDS, windows.SLOTS) == (900, 300, 30)
    assert (BIRTH_SECONDS, KEPT_SECONDS) == (120, 600)
    for number in (sampling.MAX_KEPT, exemplars.MAX_EXEMPLARS, exemplars.MAX_CHARACTERS, MAX_LABEL_CHARACTERS):
        assert f"{number:,}" in TEXT
    assert f"the last {exemplars.LINES_A_BATCH} lines" in TEXT.replace("\n", " ")


def test_the_default_rules_are_as_they_are_called() -> None:
    """They use the status, so that 404s can be one value."""
    assert "`route(url, statusCode)`, which the default rules use" in TEXT.replace("\n", " ")
    paths = {dict(rule.labels)["path"].text for rule in default_rules()}
    assert paths == {"route(url, statusCode)"}


def test_the_examples_are_yaml() -> None:
    """Each block."""
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert all(yaml.safe_load(textwrap.dedent(block)) for block in blocks)
