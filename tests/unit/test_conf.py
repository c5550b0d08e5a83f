"""Every file under conf/ is good as it is shipped."""

from pathlib import Path

import pytest
import yaml

from exporter.rules import default_rules, load_rules
from shipper import config
from shipper.config import CommandLine
from shipper.settings import DEFAULT_TAGS

CONF = Path(__file__).parents[2] / "conf"
ENVIRON = {"ELASTICSEARCH_URL": "https://es:9200", "SITE": "ward-7"}
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
    assert settings.metrics.rules == (f"{CONF}/rules/*.yml",)


def test_the_configuration_follows_three_of_the_four_families() -> None:
    """The example names all of Winston's families but errors-*, which repeats combined-*."""
    found = config.load(CONF / "shipper.yml", environ={}, command_line=CommandLine(directory=CONF))
    names = [Path(path).name for path in found.settings.sources[0].paths]
    assert names == ["combined-*.log*", "exceptions-*.log*", "rejections-*.log*"]


def test_the_rules_load() -> None:
    """The rule files that conf/shipper.yml names load together, and are what is in force without any file."""
    found = config.load(CONF / "shipper.yml", environ={}, command_line=CommandLine(directory=CONF))
    rules = load_rules(config.rule_files(found.settings))
    assert [rule.meaning for rule in default_rules()] == [rule.meaning for rule in rules]
