# Every target first sets up what it needs; `make setup` alone does only that.
PYTHON ?= python3
ARGS ?=
WORKERS ?= 4
export PYTHON
# Compiled modules are kept whatever the caller's environment says: the suite starts hundreds of programs.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup system demo test check bench chaos generate lock clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: system $(STAMP) ## install everything into .venv (done by every other target)

system:
	@scripts/install_system_packages.sh

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Roost needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## the daily brief, end to end (ARGS=--yes approves by itself)
	$(BIN)/python -m examples.daily_brief $(ARGS)

test: setup ## the test suite (ARGS="tests/domain -k retry", WORKERS=0 for one process)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: setup ## lint, types, layers, sizes, generated code, SQL catalogues, features' tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --config scripts/ruff_injected.toml src/roost/domain src/roost/engine src/roost/service
	$(BIN)/mypy src scripts tests/support
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.check_sizes
	$(BIN)/python -m scripts.check_generated
	$(BIN)/python -m scripts.check_catalogues
	$(BIN)/python -m scripts.check_hosts
	$(BIN)/python -m scripts.feature_tests

bench: setup ## throughput and latency on both engines (ARGS to choose)
	$(BIN)/python -m bench $(ARGS)

chaos: setup ## the slow runs: killed processes, cut power
	$(BIN)/python -m pytest -m chaos --timeout=3600 $(ARGS)

generate: setup ## write generated code and tables again
	$(BIN)/python -m scripts.generate_sync
	$(BIN)/python -m scripts.generate_docs

lock: setup ## resolve the dependencies again into requirements.lock
	scripts/lock.sh

clean: ## remove the virtual environment and all caches
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
