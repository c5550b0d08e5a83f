"""Every file under conf/ is good as it is shipped."""

import re
from pathlib import Path

import pytest
import yaml
from documented_lines import Shown, documented, samples_of

from exporter.rules import catalogue, default_rules, load_rules
from exporter.statuses import status_advice
from shipper import config
from shipper.config import CommandLine
from shipper.settings import DEFAULT_TAGS

CONF = Path(__file__).parents[2] / "conf"
ENVIRON = {"ELASTICSEARCH_URL": "https://es:9200", "SITE": "ward-7"}
RULE_FILES = sorted(path.name for path in (CONF / "rules").iterdir())
YAML_FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.y*ml"))


@pytest.mark.parametrize("name", YAML_FILES)
def test_every_file_is_yaml(name: str) -> None:
    """Each YAML file parses and is not empty."""
    assert yaml.safe_load((CONF / name).read_text())


@pytest.mark.parametrize("environ", [{}, ENVIRON], ids=["nothing set", "all set"])
def test_the_configuration_loads(environ: dict[str, str]) -> None:
    """conf/shipper.yml loads without a warning, whether the variables that it names are set or not."""
    found = config.load(CONF / "shipper.yml", environ=environ, command_line=CommandLine(directory=CONF))
    assert found.warnings == ()
    settings = found.settings
    assert settings.output.elasticsearch is not None
    assert settings.output.elasticsearch.hosts == (environ.get("ELASTICSEARCH_URL", "https://localhost:9200"),)
    assert settings.sources[0].fields["labels.site"] == environ.get("SITE", "main")
    assert settings.tags == DEFAULT_TAGS
    assert settings.metrics.rules == (f"{CONF}/rules/caredroid.yml",)


def test_the_configuration_follows_three_of_the_four_families() -> None:
    """The example names all of Winston's families but errors-*, which repeats combined-*."""
    found = config.load(CONF / "shipper.yml", environ={}, command_line=CommandLine(directory=CONF))
    names = [Path(path).name for path in found.settings.sources[0].paths]
    assert names == ["combined-*.log*", "exceptions-*.log*", "rejections-*.log*"]


@pytest.mark.parametrize("name", RULE_FILES)
def test_a_rule_file_loads_alone(name: str) -> None:
    """Each file under conf/rules/ is complete in itself, and says what every metric of it is."""
    rules = load_rules([CONF / "rules" / name])
    helps = {rule.name: "" for rule in rules} | {rule.name: rule.help for rule in rules if rule.help}
    assert [name for name, text in helps.items() if not text] == []
    assert status_advice(rules) == [], "scanners would take the places of routes"


def test_the_configuration_names_rules_that_load() -> None:
    """conf/shipper.yml names CareDroid's rules, which begin with what is in force without any file."""
    found = config.load(CONF / "shipper.yml", environ={}, command_line=CommandLine(directory=CONF))
    rules = load_rules(config.rule_files(found.settings)[0])
    defaults = {rule.meaning for rule in default_rules()}
    assert defaults == {rule.meaning for rule in load_rules([CONF / "rules" / "http.yml"])}
    assert defaults == {rule.meaning for rule in rules[:2]}


def test_services_of_all_kinds_can_be_counted_by_one_shipper() -> None:
    """All files but http.yml, which caredroid.yml repeats, load together: equal names have equal labels and buckets."""
    rules = load_rules(CONF / "rules" / name for name in RULE_FILES if name != "http.yml")
    assert {Path(rule.where.rpartition(":")[0]).name for rule in rules} == set(RULE_FILES) - {"http.yml"}


SEED = {
    "http_requests_total": {"method", "path", "status"},
    "http_request_duration_seconds_bucket": {"method", "path", "status", "le"},
    "http_request_size_bytes_bucket": {"method", "path", "le"},
    "http_response_size_bytes_bucket": {"method", "path", "status", "le"},
    "database_queries_total": {"operation", "entity", "status"},
    "database_query_duration_seconds_bucket": {"operation", "entity", "le"},
    "database_connection_pool_utilization": {"pool_name"},
    "cache_operations_total": {"operation", "status"},
    "cache_hit_rate": set(),
    "tool_invocations_total": {"tool_name", "status"},
    "tool_invocation_duration_seconds_bucket": {"tool_name", "le"},
    "rag_retrieval_duration_seconds_bucket": {"le"},
    "rag_retrieval_success": {"query_type"},
    "emergency_detection_total": {"emergency_type", "severity"},
    "active_users": set(),
    "authenticated_requests_total": {"user_role"},
    "errors_total": {"error_type", "severity"},
    "nodejs_eventloop_lag_seconds": set(),
    "caredroid_process_cpu_seconds_total": set(),
    "caredroid_process_resident_memory_bytes": {"pid"},
    "caredroid_process_heap_used_bytes": {"pid"},
    "caredroid_process_heap_limit_bytes": {"pid"},
}


def test_caredroids_metrics_have_their_names_and_labels() -> None:
    """What dashboards and alerts of CareDroid ask for is counted, under these labels."""
    found = catalogue(load_rules([CONF / "rules" / "caredroid.yml"]))
    assert {name: set(found.get(name, ("not there",))) for name in SEED} == SEED


@pytest.mark.parametrize("shown", documented(), ids=lambda shown: f"{Path(shown.file).stem} {shown.samples[0]}")
def test_a_documented_line_gives_the_documented_samples(shown: Shown) -> None:
    """docs/metrics.md shows lines of each kind of service; fed to its rules they give what stands under them."""
    assert list(shown.samples) == samples_of(shown.file, shown.lines)


@pytest.mark.parametrize("name", [name for name in RULE_FILES if name != "http.yml"])
def test_every_metric_has_a_documented_line(name: str) -> None:
    """No rule is without the line that feeds it."""
    blocks = [shown for shown in documented() if shown.file == f"conf/rules/{name}"]
    fed = {re.split(r"[{ ]", sample)[0] for shown in blocks for sample in shown.samples}
    rules = load_rules([CONF / "rules" / name])
    assert {rule.name for rule in rules} == {re.sub("_(sum|count)$", "", sample) for sample in fed}
