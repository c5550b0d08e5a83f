# `make help` lists the targets. Paths are relative throughout, so a checkout below a directory with spaces works.
# An installed script is started through its environment's python: its own first line would break when the tree is moved.

VENV := .venv
TEST_VENV := .venv-test
MINDEPS_VENV := .venv-mindeps
LOCK_VENV := .venv-lock

PIP := -m pip --disable-pip-version-check --quiet
CODE := $(wildcard shipper/*.py shipper/*/* exporter/*.py exporter/*/*)
METADATA := setup.cfg pyproject.toml $(wildcard MANIFEST.in)
DOCUMENTS := $(wildcard tests/unit/test_*docs*.py tests/unit/test_*readme*.py tests/unit/test_conf.py)
CHECKED := shipper exporter tests requirements

YAML_RULES := {extends: default, rules: {line-length: {max: 140}, document-start: disable, comments: {min-spaces-from-content: 1}}}

# More for the program behind a target: make test ARGS="-k identity", make run ARGS="--rate 100"
ARGS :=
# How long each fuzzer of make fuzz runs, and which (default: all). Of make soak: so many minutes of writing, into the
# bulk sink with faults or into the real Elasticsearch of the tests
MINUTES := 10
TARGETS :=
SERVER := sink
# Processes that share the tests; most of a test's time is waiting
WORKERS := 4

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test soak check bench bench-quick bench-files bench-peers bench-losses bench-redaction bench-metrics bench-elasticsearch bench-replay fuzz sbom mindeps lock clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "make %-20s %s\n", $$1, $$2 }'

run: $(VENV)/.installed ## Install into .venv and show it at work: shipper demo
	@$(VENV)/bin/python $(VENV)/bin/shipper demo $(ARGS)

test: $(TEST_VENV)/.installed ## Run all tests
	$(TEST_VENV)/bin/python -m pytest --numprocesses $(WORKERS) $(ARGS)

soak: $(TEST_VENV)/.installed ## Real writers, a shipper that is killed, a server that fails: make soak MINUTES=30 SERVER=elasticsearch
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m soak --minutes $(MINUTES) --server $(SERVER) $(ARGS)

check: $(TEST_VENV)/.installed ## What CI runs beside the tests: format, lint, types, contracts, bandit, documents, containers
	$(TEST_VENV)/bin/python -m ruff check $(CHECKED)
	$(TEST_VENV)/bin/python -m ruff format --check $(CHECKED)
	$(TEST_VENV)/bin/python -m mypy shipper exporter tests requirements/lowest.py
	PYTHONPATH=. $(TEST_VENV)/bin/python $(TEST_VENV)/bin/lint-imports
	$(TEST_VENV)/bin/python -m bandit --quiet --recursive shipper exporter requirements
	$(TEST_VENV)/bin/python -m pytest --numprocesses $(WORKERS) -q $(DOCUMENTS)
	$(TEST_VENV)/bin/python $(TEST_VENV)/bin/yamllint --strict --config-data '$(YAML_RULES)' conf docker
	$(TEST_VENV)/bin/python $(TEST_VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yml
	$(TEST_VENV)/bin/hadolint docker/Dockerfile docker/sample-app/Dockerfile
	$(TEST_VENV)/bin/shellcheck .ci/run requirements/venv docker/elasticsearch/users.sh

bench: $(TEST_VENV)/.installed $(VENV)/.installed ## Measure what a line costs, and a daemon that waits: docs/performance.md
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench $(ARGS)

bench-quick: $(TEST_VENV)/.installed $(VENV)/.installed ## Two of its cases with fewer lines, held against the recorded ratios
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench --quick $(ARGS)

bench-files: $(TEST_VENV)/.installed $(VENV)/.installed ## What many files cost: start, commits, fairness, idle
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.files $(ARGS)

bench-peers: $(TEST_VENV)/.installed $(VENV)/.installed ## The same beside other shippers: Debian's, and those that are found: ARGS="--bin DIR"
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.peers $(ARGS)

bench-losses: $(TEST_VENV)/.installed $(VENV)/.installed ## What the same shippers lose or double in two stories
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.losses $(ARGS)

bench-redaction: $(TEST_VENV)/.installed ## What redaction finds, what it masks in vain, and what it costs
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.redaction $(ARGS)

bench-metrics: $(TEST_VENV)/.installed $(VENV)/.installed ## What the default metrics cost, alone and beside shipping, and mtail on the same file
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.metrics $(ARGS)

bench-elasticsearch: $(TEST_VENV)/.installed $(VENV)/.installed ## What it takes beside a real Elasticsearch, at 10,000 lines a second
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.elasticsearch $(ARGS)

bench-replay: $(TEST_VENV)/.installed $(VENV)/.installed ## A million lines from gzip archives, by one worker and by two
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m bench.replay $(ARGS)

fuzz: $(TEST_VENV)/.installed ## Feed what strangers may write to all that reads it, ten minutes each: MINUTES=1 TARGETS="http lines"
	PYTHONPATH=.:tests $(TEST_VENV)/bin/python -m fuzz --minutes $(MINUTES) $(TARGETS)

sbom: $(TEST_VENV)/.installed ## Write sbom.json, CycloneDX: what a run installs, from requirements/run.lock
	$(TEST_VENV)/bin/python -m cyclonedx_py requirements --output-reproducible --output-file sbom.json requirements/run.lock

mindeps: $(MINDEPS_VENV)/.installed ## Run the unit tests with the oldest dependencies that setup.cfg allows
	$(MINDEPS_VENV)/bin/python -m pytest --numprocesses $(WORKERS) tests/unit $(ARGS)

lock: $(LOCK_VENV)/.installed ## Renew the lock files from the bounds in setup.cfg
	$(LOCK_VENV)/bin/uv pip compile $(COMPILE) --output-file requirements/run.lock setup.cfg
	$(LOCK_VENV)/bin/uv pip compile $(COMPILE) --constraint requirements/run.lock --extra test \
		--output-file requirements/ci.lock setup.cfg requirements/ci.in

clean: ## Remove the environments, caches and build output
	rm -rf $(VENV) $(TEST_VENV) $(MINDEPS_VENV) $(LOCK_VENV) build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find shipper exporter tests requirements -name __pycache__ -prune -exec rm -rf {} +

# One file for all supported versions (markers inside), hashes, and no word about where it came from.
COMPILE := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

# A build directory that is left over would bring deleted modules into the wheel.
$(VENV)/.installed: requirements/venv $(METADATA) $(CODE)
	@test -x $(VENV)/bin/python || requirements/venv $(VENV)
	@echo "Installing shipper and its dependencies ..."
	@rm -rf build
	@$(VENV)/bin/python $(PIP) install .
	@touch $@

$(TEST_VENV)/.installed: requirements/venv requirements/ci.lock $(METADATA)
	@test -x $(TEST_VENV)/bin/python || requirements/venv $(TEST_VENV)
	@echo "Installing what the tests need ..."
	@$(TEST_VENV)/bin/python $(PIP) install --require-hashes --requirement requirements/ci.lock
	@$(TEST_VENV)/bin/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(MINDEPS_VENV)/.installed: requirements/venv requirements/lowest.py requirements/ci.lock $(METADATA)
	@PYTHONS="$${PYTHONS:-python3.11 python3 python3.12 python3.13}" requirements/venv $(MINDEPS_VENV)
	@$(MINDEPS_VENV)/bin/python requirements/lowest.py setup.cfg requirements/ci.lock > $(MINDEPS_VENV)/constraints.txt
	@$(MINDEPS_VENV)/bin/python $(PIP) install --constraint $(MINDEPS_VENV)/constraints.txt --editable '.[test]'
	@touch $@

$(LOCK_VENV)/.installed: requirements/venv
	@requirements/venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python $(PIP) install uv
	@touch $@
