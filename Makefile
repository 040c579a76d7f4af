# The commands of every day. .ci/run is what a change must pass: all tests, the linter and the type checker.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
environment := extra=test; source ./environment.sh;

.PHONY: help test test-quick lint bench constraints

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
	  printf '%-12s %s\n' "$$name" "$$text"; done

test: ## all tests (./run_tests.sh), with the emulators, the small cluster and the browser
	./run_tests.sh

test-quick: ## the tests that need neither Go, Node, a browser nor root
	$(environment) python -m pytest -q -n "$${PYTEST_WORKERS:-2}" -m "not slow and not emulator and not cluster and not browser"

lint: ## ruff (rules and format) and mypy
	$(environment) ruff check . && ruff format --check . && mypy

bench: ## the job beside the programs of benchmarks/README.md (ten minutes)
	extra=benchmark; source ./environment.sh; python -m benchmarks.run

constraints: ## constraints.txt anew, with the versions that pyproject.toml allows
	tools/make_constraints.sh
