"""OpenAPI files: their paths become routes, and what cannot be used is said with its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shipper.batch import Columns
from shipper.errors import ConfigError
from shipper.expressions import FUNCTIONS, compile_value
from shipper.openapi import openapi_patterns
from shipper.routing import functions_of
from shipper.settings import MetricsSettings, Settings, SourceSettings

PATHS: dict[str, Any] = {"/patients/{id}": {"get": {}}, "/patients/{id}/report.{format}": {}, "x-internal": {}}
DOCUMENTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [""]),
    ({"servers": []}, [""]),
    ({"servers": [{"url": "/api/"}]}, ["/api"]),
    ({"servers": [{"url": "https://{host}:8443/api/v1"}, {"url": "http://x/api/v2"}, {"description": "?"}]},
     ["/api/v1", "/api/v2"]),
    ({"servers": [{"url": "https://h.example"}]}, [""]),
    ({"servers": [{"url": "{base}/v1"}]}, [""]),
    ({"swagger": "2.0", "basePath": "/api"}, ["/api"]),
]  # fmt: skip


@pytest.mark.parametrize(("more", "bases"), DOCUMENTS)
def test_each_path_is_a_pattern_below_each_server(tmp_path: Path, more: dict[str, Any], bases: list[str]) -> None:
    """Extensions (`x-...`) are no paths."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({"openapi": "3.1.0", **more, "paths": PATHS}))
    names = ["/patients/{id}", "/patients/{id}/report.{format}"]
    assert openapi_patterns(str(file)) == [f"{base}{name}" for base in bases for name in names]


def test_yaml_is_read_as_well(tmp_path: Path) -> None:
    """As OpenAPI is mostly written."""
    file = tmp_path / "openapi.yml"
    file.write_text("openapi: 3.0.0\npaths:\n  /a/{b}:\n    get: {responses: {200: {description: ok}}}\n")
    assert openapi_patterns(str(file)) == ["/a/{b}"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "has no paths"),
        ("[1]", "has no paths"),
        ("paths: {}", "has no paths"),
        ("a: [", ":2: is neither YAML nor JSON"),
        ("a: \x01", "is neither YAML nor JSON"),
        ("[" * 5_000, "is neither YAML nor JSON"),
        ("paths: {'/a/{b': {}, '/c/*/d': {}}", "path '/a/{b': "),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, part: str) -> None:
    """With what is wrong with it."""
    file = tmp_path / "openapi.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        openapi_patterns(str(file))
    assert str(file) in caught.value.problems[0]
    assert part in caught.value.problems[0]


def test_a_file_that_is_not_there_is_named() -> None:
    """As every file of the configuration."""
    with pytest.raises(ConfigError, match=r"metrics.openapi: '/nowhere/o.yml' cannot be read: No such file"):
        openapi_patterns("/nowhere/o.yml")


def test_the_configuration_gives_the_functions(tmp_path: Path) -> None:
    """Its own patterns first, then the file's; without either they are the usual ones."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({"paths": {"/a/{x}": {}, "/b/{x}": {}}}))
    source = SourceSettings(name="s", paths=("p",))
    assert functions_of(Settings(sources=(source,))) is FUNCTIONS
    metrics = MetricsSettings(routes=("/a/:own",), openapi=str(file), routes_only=True)
    functions = functions_of(Settings(sources=(source,), metrics=metrics))
    value = compile_value("route(url)", functions=functions)
    assert list(value(Columns({"url": ["/a/1", "/b/1", "/c/1"]}), 3)) == ["/a/:own", "/b/:x", ":unmatched"]
