# Everything happens in .venv, made from requirements.lock. `make` alone says what there is.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
ROOMS := assets benchmarks estafette gateway journey pipelines resources sandbox
STAMP := .venv/.up-to-date

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint dev bench bench-quick

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) ## make .venv from the lock file (nothing to do when it is up to date)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name it with make PYTHON=…" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

demo: setup ## the main job on sample data against the sandbox, end to end
	@$(BIN)/estafette demo

test: setup ## the tests
	$(BIN)/python -m pytest -n auto

test-slow: setup ## the tests that take minutes
	$(BIN)/python -m pytest -n auto -m slow

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOMS)

bench: setup ## how fast, how big: everything, tens of minutes; on a machine that does nothing else
	@$(BIN)/python -m benchmarks

bench-quick: setup ## the same in small, under three minutes
	@$(BIN)/python -m benchmarks --quick

dev: setup ## Dagster's pages and daemon, the gateway and the sandbox, until Ctrl-C
	@$(BIN)/python -m estafette.dev
