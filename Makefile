# Everything a person does with this repository. `make` alone says what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin

# The first Python on this machine that is new enough. Say PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# A process for each core; whoever is done first takes over from the others, in runs of neighbours.
PARALLEL := -n auto --dist worksteal
QUICK := tests/core tests/engine tests/frontend tests/sdk tests/stores tests/testing tests/tidy

.PHONY: help demo differential test test-quick test-stores test-typescript h2spec simulate attack kills share bench figures api check lint types layers tidy format coverage lock clean runtime dev

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18
	@echo
	@echo 'ARGS="..." is handed on, e.g.: make demo ARGS="--seed 7"   make test ARGS="tests/core -x"'

demo: runtime ## ORDER #1001 survives the crash; then 1,000 orders under 20 kills
	@$(BIN)/perdure demo $(ARGS)

test: dev ## all tests, in parallel processes
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

test-quick: dev ## the tests of every room but those that start processes or servers: under a minute
	@$(BIN)/pytest $(PARALLEL) $(QUICK) $(ARGS)

test-stores: dev ## what every store must do, on one of them: STORE=postgres, pgbouncer, mariadb, mysql or sqlite
	@PERDURE_TEST_STORE=$(STORE) $(BIN)/pytest $(PARALLEL) $(EVERY_STORE) $(ARGS)

EVERY_STORE := tests/stores tests/differential tests/simulation/test_crash_on_databases.py tests/cli/test_every_store.py \
	tests/examples tests/models tests/demo

test-typescript: dev ## Temporal's official TypeScript SDK against perdure server (needs node and npm)
	@$(BIN)/python -m tests.typescript $(ARGS)

h2spec: dev ## the conformance suite of HTTP/2 against perdure server (needs go)
	@$(BIN)/python -m tests.h2spec $(ARGS)

simulate: dev ## crash generated programs at every commit, on one node and on fleets, from seeds
	@$(BIN)/python -m tests.simulation $(ARGS)

attack: dev ## ask every RPC, 100,000 times, for what nobody should ask for; a finding prints its seed
	@$(BIN)/python -m tests.badinput $(ARGS)

kills: dev ## kill -9 an engine under messages, under transactions, and with PostgreSQL under a program's own; audit each
	@$(BIN)/python -m benchmarks.kills $(ARGS)
	@$(BIN)/python -m benchmarks.transactional_kills
	@$(BIN)/python -m benchmarks.application_kills

share: dev ## a web service of four processes on one file, killed at random while it is asked and steered
	@$(BIN)/python -m benchmarks.sharing $(ARGS)

fleet-kills: dev ## kill -9 nodes, workers and the database of a fleet for ten minutes, and audit every order; --kind patroni: fail-overs; --cuts: networks
	@$(BIN)/python -m benchmarks.fleet_kills $(ARGS)

differential: dev ## the same scenarios on Temporal's own server and on ours, side by side
	@$(BIN)/python -m tests.differential $(ARGS)

bench: runtime ## perdure against DBOS, interleaved, with a profile by stage; then signals; then the server beside Temporal's
	@$(PYTHON) scripts/bootstrap.py bench
	@$(BIN)/python -m benchmarks $(ARGS)
ifeq ($(findstring --store,$(ARGS)),)
	@$(BIN)/python -m benchmarks.signals
	@$(BIN)/python -m benchmarks.server_order
endif

neighbours: dev ## eight honest clients beside each attack in turn: what they notice
	@$(BIN)/python -m benchmarks.neighbours $(ARGS)

figures: ## put the newest benchmarks into the README and docs/actors.md
	@$(PYTHON) scripts/figures.py

api: dev ## put every RPC of Temporal's API into docs/temporal-api.md
	@PYTHONPATH=. $(BIN)/python scripts/api_table.py

check: lint types layers tidy ## all four below

lint: dev ## style: ruff check and ruff format --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: dev ## pyright: strict on src, basic elsewhere, and on what the documents show; mypy --strict on examples and documents
	@$(BIN)/pyright
	@$(BIN)/python -m tests.typing.snippets
	@$(BIN)/pytest -q tests/typing

layers: dev ## who may import whom
	@PYTHONPATH=src $(BIN)/lint-imports

tidy: dev ## sizes, purity, dead references, the public surface
	@$(BIN)/pytest -q tests/tidy

format: dev ## rewrite the code as ruff would have it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: dev ## the tests again, with line and branch coverage
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage report

lock: ## resolve the requirement locks anew (uv, in a venv of its own)
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install --quiet uv
	@$(LOCK) --group build -o requirements/runtime.txt pyproject.toml
	@$(LOCK) --group build --extra dev -c requirements/runtime.txt -o requirements/dev.txt pyproject.toml
	@$(LOCK) --group build --extra bench -c requirements/dev.txt -o requirements/bench.txt pyproject.toml

# One lock for Python 3.11 and later on every platform; --no-emit-*: where it was resolved is nobody's business.
LOCK := .venv/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock' $(UPGRADE)

clean: ## remove what can be made again
	@rm -rf .venv .venv.lock .pytest_cache .hypothesis .ruff_cache .import_linter_cache .coverage htmlcov dist build

runtime dev:
	@test -n "$(PYTHON)" || { echo "perdure needs Python 3.11 or later.  On Debian and Ubuntu:  sudo apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) scripts/bootstrap.py $@
