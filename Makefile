# Everything runs from .venv, which pip alone fills: `make demo`, `make test`, `make lint`, `make bench`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test lint format bench sanitize clean

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

sanitize: $(VENV)/dev  ## The extension's tests in a copy, built so that whatever breaks the rules of C ends them (gcc)
	rm -rf build/sanitized && mkdir -p build/sanitized
	cp -r algolia_events tests pytest_algolia_events.py pyproject.toml build/sanitized
	cd build/sanitized && gcc -O1 -g -Wall -Wextra -Werror -Wno-missing-field-initializers -Wno-cast-function-type \
		-shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all \
		-I"$$($(CURDIR)/$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
		algolia_events/_speedups.c \
		-o algolia_events/_speedups"$$($(CURDIR)/$(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
	cd build/sanitized && PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		$(CURDIR)/$(BIN)/python -m pytest tests/test_speedups.py tests/test_events_compiled.py tests/test_codec.py

clean:
	rm -rf $(VENV) build dist *.egg-info algolia_events/*.so algolia_events/*.pyd .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
