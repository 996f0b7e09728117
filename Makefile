# `make run` is all it takes: environment, model files, server. Needs python3 with venv, and make.
PYTHON ?= python3
PROFILE ?= embedded
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup run test check clean

setup: $(INSTALLED)
	$(BIN)/omni pull $(PROFILE)

run: setup
	$(BIN)/omni serve --config $(PROFILE)

test: setup
	@# The browser tests drive Debian's Chromium; where it cannot be had they skip and say why.
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; \
	then apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
	  >/dev/null || echo "chromium could not be installed"; fi
	$(BIN)/pytest $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Rebuilt whenever the pins change, and only marked when everything is in.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@
