# `make help` lists what there is. Everything happens in .venv; nothing is installed twice.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest
# One more than the cores of a small machine, since many tests wait.
JOBS ?= 3
# Those of the whole service wait most of the time, for processes and pages.
ACCEPTANCE_JOBS ?= 5
# Neighbours in a file stay together, since they may share what is made once for it.
WITHOUT_ACCEPTANCE = $(PYTEST) -q -n $(JOBS) --dist worksteal --ignore tests/acceptance
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PYTHON
# The tests start hundreds of interpreters: each would compile the whole service again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up install test test-unit test-services test-acceptance faults chaos check lint types imports fuzz \
	screenshots bench-data settings format pins audit clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

demo: $(VENV)/installed ## the whole story on this machine: fine-tune, report, predict (ARGS=--json)
	@$(BIN)/carot demo $(ARGS)

up: $(VENV)/installed ## the service on this machine, until Ctrl-C (ARGS="--port 9000")
	@$(BIN)/carot up $(ARGS)

install: $(VENV)/installed-test ## the environment with what the tests need

test: $(VENV)/installed-test ## every check: lint, types, imports, unit, services, acceptance
	@$(MAKE) --no-print-directory check
	$(WITHOUT_ACCEPTANCE) -m "not acceptance" $(ARGS)  # unit and services at once
	@$(MAKE) --no-print-directory test-acceptance
	@echo "all checks passed"

test-unit: $(VENV)/installed-test ## tests that need no server and no patience
	$(WITHOUT_ACCEPTANCE) -m "not services and not slow and not acceptance" $(ARGS)

test-services: $(VENV)/installed-test ## tests on private Postgres and Redis, and slow ones
	$(WITHOUT_ACCEPTANCE) -m "(services or slow) and not acceptance" $(ARGS)

test-acceptance: $(VENV)/installed-test ## tests of the whole service in its own processes
	$(PYTEST) -q -n $(ACCEPTANCE_JOBS) --dist loadfile --no-loadscope-reorder -m acceptance $(ARGS)  # one deployment a file

fuzz: $(VENV)/installed-test ## requests from the OpenAPI document, for five minutes (ARGS="--seconds 60")
	@$(BIN)/python -m tests.fuzz $(ARGS)

screenshots: $(VENV)/installed-test ## the dashboard's pages as pictures, into docs/img
	@$(BIN)/python -m tests.acceptance.dashboard.screenshots docs/img

bench-data: ## the photographs of benchmarks/fashion, from Debian's archive (needs root)
	@test -d /usr/share/datasets/fashion-mnist || apt-get install --yes dataset-fashion-mnist

settings: $(VENV)/installed ## write docs/settings.md from the settings classes
	@$(BIN)/python .ci/settings_page.py

faults: $(VENV)/installed-test ## plant mistakes one by one: is each noticed? (ARGS="--only claims")
	@$(BIN)/python -m tests.faults --json build/faults.json $(ARGS)

chaos: $(VENV)/installed-test ## every fault over batches of 30 jobs, about an hour (ARGS="--quick")
	PYTHONPATH=. $(BIN)/python benchmarks/chaos.py $(ARGS)

check: lint types imports ## lint, types and import contracts

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

imports: $(VENV)/installed-test
	$(BIN)/lint-imports

format: $(VENV)/installed-test ## rewrite the code the way the linter wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(VENV)/installed-test ## write constraints.txt again from what is installed
	$(BIN)/python .ci/pin.py > constraints.tmp
	mv constraints.tmp constraints.txt

audit: $(VENV)/installed-test ## known weaknesses of what is required; asks the advisory service
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit && \
	  $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'; } || \
	  echo "pip-audit cannot be installed"
	@$(BIN)/python .ci/audit.py $(VENV)/audit/bin/pip-audit

clean: ## remove the environment and what tools left behind; data in .carot stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python: | .ci/venv
	@.ci/venv $(VENV)

# The stamps make a second run skip the installation.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV); the first time this takes some minutes"
	@$(PIP) -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV); the first time this takes some minutes"
	@$(PIP) -e '.[test]'
	@touch $(VENV)/installed $@
