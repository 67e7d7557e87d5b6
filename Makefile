# Every target makes and uses .venv in this folder. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export UV_HTTP_TIMEOUT ?= 300

.PHONY: help setup pins demo test lint bench neo4j neo4j-stop clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: ## make .venv with the pinned packages (nothing to do when it is up to date)
	@tools/setup.sh

pins: setup ## bring requirements.txt in line with pyproject.toml (PIN_ARGS=--upgrade: newest versions)
	@$$(command -v uv || echo .venv/bootstrap/bin/uv) pip compile pyproject.toml --universal --python-version 3.11 --group dev --all-extras \
	    --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.txt $(PIN_ARGS)

demo: setup ## ingest the example prompts and serve the dashboard (DEMO_ARGS=--no-dashboard: three answers instead)
	@$(BIN)/flowatlas demo $(DEMO_ARGS)

test: lint ## check everything: lint, then all tests (TEST_ARGS are handed to pytest; -n0: in one process)
	@tools/test_needs.sh
	$(BIN)/python -m pytest -n logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(TEST_ARGS)

lint: setup ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup ## measure every part and print the ratios (BENCH_ARGS=--quick: small sizes, --large: also the largest)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

neo4j: setup ## start a Neo4j server on loopback, print what makes flowatlas use it (NEO4J_ARGS="--port 7688")
	@$(BIN)/python -m flowatlas.stores.neo4j_server start $(NEO4J_ARGS)

neo4j-stop: setup ## stop it
	@$(BIN)/python -m flowatlas.stores.neo4j_server stop

clean: ## remove caches, build output and the demo's store (.venv stays)
	@rm -rf build dist demo.run .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
