"""A line nested so deep that the server would never answer: it hangs on an object 5,000 deep (OpenSearch 2)."""

from pathlib import Path

import pytest
from command import run_to_end
from harness.servers import Remote

DEPTHS = (20, 99, 101, 5000)


@pytest.mark.parametrize("flavour", ["opensearch", "elasticsearch"])
def test_it_arrives_as_text_and_the_server_goes_on(
    request: pytest.FixtureRequest, index_prefix: str, tmp_path: Path, flavour: str
) -> None:
    """Each line is a document: whole, reduced, or its text with the tag `too_deep`; no request goes unanswered."""
    server: Remote = request.getfixturevalue(flavour)
    time = '"timestamp":"2024-01-15T10:30:45.123Z"'
    lines = [f'{{{time},"a":1}}', *(f'{{{time},"a":' + '{"a":' * depth + "1" + "}" * depth + "}" for depth in DEPTHS)]
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in lines))
    output = f'hosts: ["{server.url}"], index: "{index_prefix}%Y.%m.%d", request_seconds: 20s'
    (tmp_path / "shipper.yml").write_text(
        "state: state\nsources: [{name: a, paths: [app.log]}]\n" + f"output: {{elasticsearch: {{{output}}}}}\n"
    )

    done = run_to_end("run", "-c", "shipper.yml", "--once", directory=tmp_path)

    assert done.returncode == 3, done.stderr
    assert "does not take documents" not in done.stderr
    found = {hit["_id"].split("-")[1]: hit["_source"] for hit in server.search_all(f"{index_prefix}*")}
    tags = [source.get("tags") for _, source in sorted(found.items())]
    too_deep = ["too_deep", "time_failure"]
    assert [None, ["mapping_conflict"], ["mapping_conflict"], too_deep, too_deep] == tags
    audit = run_to_end("audit", "-c", "shipper.yml", directory=tmp_path)
    assert audit.returncode == 0, audit.stdout
