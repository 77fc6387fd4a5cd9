# Needs Python 3.11 or later and make; the first call creates .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
SWEEP ?= sweeps/digits-lambda.yaml
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help setup sweep test test-slurm test-tracking test-gpu up down lint format audit ui report bench bench-gpu wheel licenses clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with all requirements

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes, once)"
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

sweep: $(READY) ## Run the default sweep and its report (SWEEP=file, ARGS='--rerun-stale' …)
	@$(BIN)/care sweep run $(SWEEP) $(ARGS)

test: $(READY) ## Run the tests, three files at a time
	@$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

CLUSTER := docker/slurm/cluster
test-slurm: $(READY) ## Start two SLURM test clusters, run the cluster tests, stop them (root, Debian)
	@$(CLUSTER) run -- env CARE_SLURM_NAME=second $(CLUSTER) run -- \
		$(BIN)/pytest tests/cluster --numprocesses 2 --maxschedchunk 1 --timeout=1200 $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-tracking)

test-tracking: $(READY) ## Start a tracking server with Postgres and nginx, run its tests, stop it (root, Debian)
	@docker/tracking/server install
	@$(BIN)/pytest tests/tracking_server --timeout=1200 $(ARGS)

up: ## Start the team's tracking server, bare on Debian or in containers (docs/tracking-server.md)
	@PYTHON=$(PYTHON) docker/tracking/stack up

down: ## Stop the team's tracking server; its data are kept
	@docker/tracking/stack down

test-gpu: $(READY) ## Run the tests that need an Nvidia GPU
	@$(BIN)/pytest tests/gpu $(ARGS)

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint --ignore DL3008 docker/*/Dockerfile  # pinned packages would miss Debian's security fixes

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

audit: ## Look for known vulnerabilities of the pinned packages (needs pypi.org)
	@docker/audit $(PYTHON) constraints.txt

ui: $(READY) ## Serve MLflow and print the addresses of its charts (ARGS='--port 5001')
	@$(BIN)/care ui $(ARGS)

report: $(READY) ## Write the default sweep's report (SWEEP=file)
	@$(BIN)/care report $(SWEEP)

bench: $(READY) ## Measure speed as ratios in one run (ONLY=name for one line)
	@$(BIN)/python -m benchmarks $(ONLY)

bench-gpu: $(READY) ## Measure speed on an Nvidia GPU (ONLY=name for one line)
	@$(BIN)/python -m benchmarks --gpu $(ONLY)

licenses: $(READY) ## List the libraries with their versions and licences
	@$(BIN)/python docker/train/licenses

# Equal files give an equal wheel. Of an older build nothing is left in it.
wheel: $(READY) ## Build the wheel, dist/care_contrastive-*.whl, with the experiments inside
	@rm -rf build
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1700000000) \
	  $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir dist .
	@ls -t dist/*.whl | head -n 1

clean: ## Remove .venv and caches; results in runs/ are kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
