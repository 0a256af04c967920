# Two commands: `make demo` shows the whole path on real CT, `make test` runs every check and test.
# Both make .venv and install what they need into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: help demo test clean

help:
	@echo "make demo   the whole path on real CT, ending with one HTML report (about 10 minutes with the installation, 2 GB of memory)"
	@echo "make test   every check and test"
	@echo "make clean  remove .venv, caches and the demo's files"

demo: $(VENV)/installed
	@BIN=$(BIN) scripts/demo.sh demo

test: $(VENV)/installed-dev
	@echo "== checks: style, types, layers"
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@echo "== tests"
	$(BIN)/python -m pytest -n 2

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing mim3d and what it stands on into $(VENV) (2 GB, a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing mim3d and its checks into $(VENV) (2 GB, a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/bin/python:
	@echo "== making $(VENV) with $$($(PYTHON) --version 2>&1)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mim3d needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 2; }

clean:
	rm -rf $(VENV) demo build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
