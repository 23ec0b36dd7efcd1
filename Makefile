# `make demo` and `make test` do everything from nothing: Python 3.11 or newer, make and git are enough.

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that is new enough. Give another one with `make demo PYTHON=/path/to/python`.
PYTHON ?=
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# A file stays with one worker, which makes what its tests share once. Of the slow ones those of many tests come
# first and those of a single one last; among the fast ones heavy files have few tests and may not be last.
BY_FILE := --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow soak check lint types rooms bpic2012 bench bench-features bench-truth bench-reasons bench-quality bench-postgres bench-scoring bench-monitoring lock clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED)  ## Create or update the environment in .venv

$(INSTALLED): requirements.lock pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	  for python in $(CANDIDATES); do \
	    if "$$python" -c "$(NEW_ENOUGH)" 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Python 3.11 or newer is needed; python3 is $$(python3 --version 2>&1)."; \
	    echo "Install it, or name it: make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),install)"; \
	    exit 2; \
	  fi; \
	  echo "Creating $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "The venv module does not work; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }; \
	fi
	@echo "Installing the locked packages (a minute or two, the first time)"
	@$(BIN)/python -m pip install -qq --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # on all cores; a few files are no Python
	@$(BIN)/python -m pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(INSTALLED)  ## Train, compare and report on a simulated CRM
	@$(BIN)/lead-propensity demo

test: $(INSTALLED)  ## The fast tests: no service, ten minutes on two cores
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 $(BY_FILE) --no-loadscope-reorder -m "not slow" --durations 25

test-slow: $(INSTALLED)  ## The slow tests: full datasets, the built wheel, the README's commands
	$(BIN)/python -m pytest -q -n auto --maxprocesses 2 $(BY_FILE) -m slow --durations 10

soak: $(INSTALLED)  ## Faults and fuzz for long, each time others; SOAK=20 times as many as in CI
	SOAK=$(or $(SOAK),20) $(BIN)/python -m pytest -q tests/test_faults_kill.py tests/test_faults_fuzz.py

check: lint types rooms test  ## Lint, types, import order of the rooms, fast tests

lint: $(INSTALLED)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## mypy, strict for src
	$(BIN)/mypy

rooms: $(INSTALLED)  ## Imports go only to rooms named earlier in docs/architecture.md
	$(BIN)/python -m pytest -q tests/test_architecture.py

bpic2012: $(INSTALLED)  ## The same pipeline on real data; needs LEAD_PROPENSITY_DATA_ROOT
	$(BIN)/lead-propensity train configs/bpic2012.yaml

bench: $(INSTALLED)  ## Time every phase from tables to report
	$(BIN)/python benchmarks/end_to_end.py

bench-features: $(INSTALLED)  ## Features against a GROUP BY and peers; SIZE=small, full or huge
	$(BIN)/python benchmarks/features.py --size $(or $(SIZE),small)

bench-truth: $(INSTALLED)  ## Probabilities against the true ones of a simulated CRM; SIZES="2000 20000 200000"
	$(BIN)/python benchmarks/truth.py --sizes $(or $(SIZES),2000 20000) --plot build/truth/curve.svg

bench-reasons: $(INSTALLED)  ## What the reasons cost, beside scoring and beside LightGBM's own
	$(BIN)/python benchmarks/reasons.py

bench-quality: $(INSTALLED)  ## Probabilities against peers, out of time; needs LEAD_PROPENSITY_DATA_ROOT
	$(BIN)/python benchmarks/quality.py --folder build/quality/kept $(if $(QUICK),--quick)

bench-postgres: $(INSTALLED)  ## Scores through PostgreSQL and back, beside a bare COPY; ROWS=1000000
	$(BIN)/python benchmarks/postgres.py --rows $(or $(ROWS),1000000)

bench-scoring: $(INSTALLED)  ## Scoring from ready features, beside the members' bare predictions; LEADS=1000000
	$(BIN)/python benchmarks/scoring.py --leads $(or $(LEADS),1000000)

bench-monitoring: $(INSTALLED)  ## Watching scores of 250,000 and 1,000,000 leads a night; SIZES="250000 1000000"
	$(BIN)/python benchmarks/monitoring.py --leads $(or $(SIZES),250000 1000000)

# uv reads its own settings for mirrors; the lock stays free of addresses and of paths.
lock:  ## Resolve requirements.lock anew with uv (UPGRADE=1 takes the newest versions)
	@PATH="$$PATH:$(abspath $(BIN))"; \
	command -v uv >/dev/null || { echo "uv is needed; install it: pip install uv"; exit 2; }; \
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  $(if $(UPGRADE),--upgrade) --extra dev pyproject.toml --output-file requirements.lock

clean:  ## Remove the environment, caches and builds; models, runs and data stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
