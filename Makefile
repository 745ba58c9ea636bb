# make demo | test | slow | bench | lint: each works from a fresh clone. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test slow bench techniques lint clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# One stamp a set of extras: an install is repeated only when what it installs has changed.
.venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,gp,worker]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,gp,worker,dev]'
	@touch $@ .venv/.demo

demo: .venv/.demo ## start everything, run a study, print the leaderboard and the dashboard's address
	$(BIN)/tuner demo

test: .venv/.dev ## run the test suite, a process a core, without what takes long
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow' $(ARGS)

slow: .venv/.dev ## run the tests that take long: kills, large studies, every sampler restarted, every optimizer trained
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow $(ARGS)

bench: .venv/.dev ## measure what the README claims, side by side with the alternative
	$(BIN)/python -m benchmarks $(ARGS)

techniques: .venv/.dev ## measure every technique of the catalogue and write docs/techniques.md (ARGS=--render: write it only)
	$(BIN)/python -m benchmarks.techniques $(ARGS)

lint: .venv/.dev ## format check, ruff, mypy strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove what the targets above have made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
