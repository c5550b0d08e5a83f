"""`shipper test`, as it is typed. Imports nothing that `run` does not need."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shipper.endings import Exit
from shipper.errors import ConfigError
from shipper.options import end, indented_json, json_option, loader


@click.command("test")
@click.argument("files", nargs=-1, metavar="TESTS.yml...")
@click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration (YAML).  [default: the defaults]")
@json_option
def test_command(*, files: tuple[str, ...], config_file: str | None, as_json: bool) -> None:
    """Run test cases of a configuration: lines, and what is to become of them.

    \b
    The lines go through the stages of `run`; nothing is read but the files named here and in the
    configuration, and nothing is sent or written. A test file (docs/testing.md has all keys):

    \b
      tests:
        - name: a slow failure
          lines: {timestamp: 2024-01-15T10:30:45Z, method: GET, url: /api/patients/7, statusCode: 503, duration: 2500}
          expect:
            index: logs-2024.01.15
            tags: [slow_request, error_response, server_error]
            document: {url: /api/patients/7}
          metrics:
            'http_requests_total{method="GET",path="/api/patients/:id",status="503"}': 1

    \b
    Examples:
      shipper test -c /etc/shipper/shipper.yml tests/*.yml
      shipper test my-tests.yml --json

    \b
    Exit codes: 0 all passed; 1 some failed; 2 usage, configuration, or a test file that cannot be used.
    """
    from shipper.referred import rules_of
    from shipper.testing.cases import read_cases
    from shipper.testing.report import as_data, as_text
    from shipper.testing.trial import Trial

    try:
        if not files:
            raise ConfigError(["nothing to test: give a file of test cases; `shipper test --help` shows one"])
        settings = loader(config_file, reads_named_files=True)().settings
        trial = Trial(settings=settings, rules=rules_of(settings))
        cases = read_cases(files, directory=Path.cwd())
        outcomes = [trial.run(case, origin) for case, origin in zip(cases, trial.origins(cases), strict=True)]
    except ConfigError as error:
        end(Exit.USAGE, str(error))
    click.echo(indented_json(as_data(outcomes)) if as_json else as_text(outcomes))
    sys.exit(Exit.UNFINISHED if any(outcome.failures for outcome in outcomes) else Exit.DONE)
