# QRES: every target sets itself up; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test test-mpy test-board check lint types format bench docs lock clean

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STUBS := build/stubs
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done)
PIP := $(PY) -m pip --disable-pip-version-check --no-input
ARGS ?=
JOBS ?= 3
PORT ?=
BOARD_IMAGE ?=
BOARD ?=

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

venv: $(VENV)/.installed $(VENV)/.vm32 $(STUBS)/.installed  ## create .venv with pinned, checksummed packages (needed by all others, and run by them)

demo: $(VENV)/.installed  ## sixteen virtual boards on real weather, with a live dashboard (ARGS="--speed 10")
	$(BIN)/qres demo $(ARGS)

# Boards run in real time, so more processes than cores finish sooner; a file's tests share what it starts.
test: venv  ## everything that needs no board, on CPython and both MicroPython machines (ARGS="-k wire" JOBS=0: in one process)
	$(PY) -m pytest -n $(JOBS) --dist loadfile -m "not slow" $(ARGS)

test-slow: venv  ## the tests that take a minute: the battery for boards, on virtual ones
	$(PY) -m pytest -n $(JOBS) --dist loadfile -m slow $(ARGS)

test-mpy: venv  ## the portable tests on the unix and the 32-bit MicroPython machine only
	$(PY) tests/run_vm.py $(ARGS)

test-board: venv  ## what runs when a board is attached (PORT=/dev/ttyACM0 BOARD_IMAGE=micropython.bin BOARD=xiao-esp32c6)
	@test -n "$(PORT)" || { echo "name the board's port: make test-board PORT=/dev/ttyACM0"; exit 2; }
	QRES_BOARD_PORT="$(PORT)" QRES_BOARD_IMAGE="$(BOARD_IMAGE)" QRES_BOARD_KIND="$(BOARD)" \
		$(PY) -m pytest tests/board -m board $(ARGS)

check: lint types test  ## what a change must pass: lint, types, tests on all machines

lint: $(VENV)/.installed  ## ruff: style, imports and likely defects
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed $(STUBS)/.installed  ## mypy --strict: host, device core, and the port against the chip's own stubs
	$(BIN)/mypy
	MYPYPATH=$(STUBS) $(BIN)/mypy --config-file firmware/mypy.ini --custom-typeshed-dir $(STUBS) --cache-dir .mypy_cache/port

format: $(VENV)/.installed  ## let ruff rewrite the layout of the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## speed beside a peer measured in the same run
	$(PY) tools/bench.py $(ARGS)

docs: $(VENV)/.installed  ## write the generated parts of docs/
	$(PY) tools/docs.py

lock: $(VENV)/.installed  ## pin requirements*.txt anew from pyproject.toml
	$(PY) tools/lock.py

clean:  ## remove everything that is made, .venv too
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written last, so an interrupted step runs again and a finished one does not.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: sudo apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "this Python cannot make environments: sudo apt install python3-venv"; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/.made
	$(PIP) install --quiet --require-hashes -r requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# The stubs shadow the standard library, so they stay out of the environment.
$(STUBS)/.installed: requirements-stubs.txt | $(VENV)/.made
	rm -rf $(STUBS)
	$(PIP) install --quiet --no-deps --require-hashes --target $(STUBS) -r requirements-stubs.txt
	touch $@

# The 32-bit machine is optional: without it its tests are skipped with the reason, and the next run tries again.
$(VENV)/.vm32: tests/vm32/package-lock.json requirements-node.txt | $(VENV)/.installed
	@command -v node >/dev/null || $(PIP) install --quiet --require-hashes -r requirements-node.txt || true
	@if $(PY) tests/run_vm.py --install; then touch $@; fi
