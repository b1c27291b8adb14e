# One verb each. Every target does its own set-up: only Python 3.11 or newer, git and make are needed.

PYTHON ?= python3
SCALE ?= run
BIN := .venv/bin
PACKAGES := $(patsubst %/pyproject.toml,%,$(wildcard libs/*/pyproject.toml services/*/pyproject.toml))
READY := .venv/.ready
MEMBERS := $(shell sed -nE 's/^name = "(.*)"/\1/p' $(PACKAGES:%=%/pyproject.toml))

.DEFAULT_GOAL := help
.PHONY: help setup demo test journeys test-long lint typecheck schemas contracts bench bench-long faults faults-long faults-trust up down lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

setup: $(READY) ## make .venv with everything in it

$(READY): requirements.lock $(PACKAGES:%=%/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (once) …"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation $(PACKAGES:%=-e ./%); \
	else \
		$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e ./%); \
	fi
	@touch $@

demo: $(READY) ## start the whole platform, run the main job on real input, show what happened, stop
	@$(BIN)/entresol demo

test: $(READY) ## every part, against real servers
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --ignore=tests/e2e

journeys: $(READY) ## whole platforms, through their doors
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile tests/e2e

test-long: $(READY) ## tests that prove over again, in more places, what a test of make test proves in one
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile -m long

lint: $(READY) ## style, layers and declared dependencies
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@for package in $(PACKAGES); do (cd $$package && ../../$(BIN)/deptry src) || exit 1; done

typecheck: $(READY) ## mypy, strict
	@$(BIN)/mypy

schemas: $(READY) ## generate from schemas/ and the rights what is generated from them
	@$(BIN)/python libs/contracts/generate.py
	@$(BIN)/python libs/contracts/asyncapi.py
	@$(BIN)/python compose/nats/users.py

contracts: $(READY) ## are the models what schemas/ says, and are the schemas compatible with the last commit's?
	@$(BIN)/python libs/contracts/generate.py --check
	@$(BIN)/python libs/contracts/asyncapi.py --check
	@$(BIN)/python compose/nats/users.py --check
	@$(BIN)/python libs/contracts/compatibility.py

bench: $(READY) ## requests per second, latency, and what bounds them; with WRITE=1 into docs/bench.md
	@$(BIN)/python -m tests.bench $(if $(WRITE),--write)

bench-long: $(READY) ## memory over 200,000 requests, and the cost of one with up to 1,000,000 stored (40 GB of disk)
	@$(BIN)/python -m tests.bench --soak 200000 $(if $(WRITE),--write)
	@$(BIN)/python -m tests.bench --fill 1000000 $(if $(WRITE),--write)

faults: $(READY) ## break things under load, and count what was lost; SCALE=short, run or long
	@$(BIN)/python -m tests.faults.trust
	@$(BIN)/python -m tests.faults --scale $(SCALE)

faults-long: $(READY) ## the same for hours, and write docs/faults.md; goes on where it was stopped
	@$(BIN)/python -m tests.faults --scale long --resume faults.jsonl --write docs/faults.md

faults-trust: $(READY) ## plant bugs, and see that each is caught
	@$(BIN)/python -m tests.faults.trust

up: $(READY) ## run the platform in the foreground
	@$(BIN)/entresol up

down: ## end a platform that `make up` started
	@$(BIN)/entresol down

lock: ## resolve requirements.lock anew
	@$(if $(wildcard $(BIN)/uv),$(BIN)/uv,uv) pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		$(addprefix --no-emit-package ,$(MEMBERS)) --no-annotate --group dev $(PACKAGES:%=%/pyproject.toml) -o requirements.lock

clean: ## remove what was built
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
