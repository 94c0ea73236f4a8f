# Everything runs from .venv, which pip alone fills: `make demo`, `make test`, `make lint`, `make bench`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test lint format bench clean

$(VENV)/demo: pyproject.toml setup.py algolia_events/_speedups.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[cli]'
	@touch $@

$(VENV)/dev: pyproject.toml setup.py algolia_events/_speedups.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[all]' --group dev
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo  ## The queue and the Recommend wrapper against the embedded sandbox
	$(BIN)/algolia-events demo $(ARGS)

test: $(VENV)/dev  ## The whole suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/dev  ## Style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/basedpyright --verifytypes algolia_events --ignoreexternal
	$(BIN)/lint-imports

format: $(VENV)/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/dev  ## One table, ratios in one run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist algolia_events/*.so .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
