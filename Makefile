# The verbs that people and CI type. `make` alone lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DONE   := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install up down test lint format api lock bench docs

help:              ## this list
	@grep -E '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(DONE)   ## .venv with everything, exactly as locked

$(DONE): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Draft needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "this Python lacks venv; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

up: install        ## raise the cluster of draft.yaml and wait until it is healthy
	@$(BIN)/dctl infra apply -y

down: install      ## stop it and its supervisor; data is kept
	@$(BIN)/dctl infra down

test: install      ## the whole suite, on real parts
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

lint: install      ## ruff, mypy, import arrows, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dctl api build --check
	$(BIN)/dctl api lint
	$(BIN)/dctl api format --check
	$(BIN)/dctl api breaking

format: install    ## let ruff and buf write
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/dctl api format

api: install       ## generate api/gen from the protos
	$(BIN)/dctl api build

lock: install      ## newest versions that pyproject.toml allows -> requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --all-extras --group dev pyproject.toml -o requirements.lock

# Byte code is there, as pip leaves it, also where PYTHONDONTWRITEBYTECODE keeps a run from writing it.
bench: install     ## measure, as ratios side by side
	@$(BIN)/python -m compileall -q dctl chassis api/gen services/draft_services
	$(BIN)/python -m benchmarks $(ARGS)

docs: install      ## write the generated pages under docs/
	$(BIN)/python -m docs.generator
