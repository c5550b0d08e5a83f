"""docs/configuration.md says what the code says: tables, examples, anchors."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml
from tools.config_docs import DOCUMENT, SECTIONS, field_comments, filled

from exporter import rulereader
from exporter.rule import RuleType
from shipper import config, settings
from shipper.config import CommandLine
from shipper.settings import Config, Settings

STRUCTS: list[type[Config]] = [Settings, *SECTIONS]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def test_the_document_is_up_to_date() -> None:
    """Every generated part is what the code gives now; `tools.config_docs` writes them."""
    text = DOCUMENT.read_text()
    assert filled(text) == text


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_key_is_explained(struct: type[Config]) -> None:
    """Each field has a comment, which is the key's line in the document, and each section stands there."""
    comments = field_comments(struct)
    assert [item.name for item in msgspec.structs.fields(struct)] == list(comments)
    assert [name for name, comment in comments.items() if not comment] == []
    assert f"<!-- begin fields {struct.__name__} -->" in DOCUMENT.read_text()


def test_every_section_is_in_the_document() -> None:
    """No struct that can be configured is left out of the tables."""
    found = {thing for thing in vars(settings).values() if isinstance(thing, type) and issubclass(thing, Config)}
    assert found - {Config} == set(STRUCTS)


def test_every_link_leads_to_a_heading() -> None:
    """The anchors that the text and the tables use exist."""
    text = DOCUMENT.read_text()
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors == set()


@pytest.mark.parametrize("example", [text for text in EXAMPLES if not re.search(r"^rules:", text, re.MULTILINE)])
def test_every_example_loads(tmp_path: Path, example: str) -> None:
    """Each piece of YAML is good as it stands, given a source where it shows none."""
    keys = yaml.safe_load(example)
    source = "" if "sources" in keys else "sources: [{name: a, paths: [logs]}]\n"
    file = tmp_path / "shipper.yml"
    file.write_text(source + example)
    found = config.load(file, environ={}, command_line=CommandLine(directory=tmp_path))
    assert found.settings.sources


def test_every_key_of_a_rule_is_explained() -> None:
    """The table of a rule's keys, and its list of types, are those that the reader of rule files knows."""
    text = DOCUMENT.read_text().partition("A rule has these keys")[2].partition("##")[0]
    assert list(rulereader.KEYS) == re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    types = re.findall(r"^\| `type` \| \*\*required\*\*; (.*) \|$", text, re.MULTILINE)
    assert types == [" or ".join(f"`{kind.value}`" for kind in RuleType)]


def test_the_default_tags_are_those_of_the_document() -> None:
    """The tags that the text calls the default are the ones in force."""
    text = next(text for text in EXAMPLES if text.startswith("tags:"))
    assert list(settings.DEFAULT_TAGS.items()) == list(yaml.safe_load(text)["tags"].items())
