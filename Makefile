# Every command a person or a machine runs on this checkout. `make` alone lists them.
# Set-up needs Python 3.11 or later, pip and make, and goes into .venv; it is repeated only when
# pyproject.toml or constraints.txt change, and nothing else reaches for the network.

# The first of these that is new enough; override with `make test PYTHON=/path/to/python`.
NAMES := python3 python python3.14 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in $(NAMES); do \
	if $$name -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then echo $$name; break; fi; done)
# Where to look for torch too, for example https://download.pytorch.org/whl/cpu to spare the CUDA
# libraries that the package index ships with torch on Linux.
TORCH_INDEX ?=
SUITE ?=
PYTEST_OPTIONS ?=

ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench docs lessons site clean

help: ## this list
	@echo "make TARGET, on a fresh machine with Python 3.11 or later, pip and make:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## .venv in the checkout, with everything in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@"$(or $(PYTHON),python3)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "seqloom needs Python 3.11 or later; '$(or $(PYTHON),python3)' is missing or older." >&2; \
		echo "  fix: install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; \
		exit 2; }
	@test -x $(BIN)/python && $(BIN)/python -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null || "$(PYTHON)" -m venv --clear .venv \
		|| { "$(PYTHON)" -m venv --clear --without-pip .venv && "$(PYTHON)" -m pip --python $(BIN)/python install pip; }
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt torch --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP) ## train on the built-in dates, evaluate, predict, draw the attention (runs/dates)
	$(BIN)/seqloom demo --overwrite

test: check ## lint, types, and the whole fast suite: what CI runs
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

test-slow: $(STAMP) ## the slow tier: full products of options, real data, learning bounds
	$(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST_OPTIONS)

check: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check --no-cache  # the cache does not see that a module has become one of ours
	$(BIN)/mypy

format: $(STAMP) ## rewrite the code as ruff formats it
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(STAMP) ## benchmarks/, all of it or SUITE=training|prediction|scale
	$(BIN)/python -m benchmarks $(SUITE)

docs: $(STAMP) ## write the generated pages of docs/ again
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/translations.py

lessons: $(STAMP) ## run the lessons of docs/ again: what they print and draw
	$(BIN)/python docs/lessons/course.py

site: $(STAMP) ## the documentation as a site in build/site, needing no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean: ## remove caches and build outputs; .venv and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
