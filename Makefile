# Needs only Python >= 3.11 and make; everything else is installed into .venv on first use.
PYTHON ?= python3
PORT   ?= 3000
# Test processes; each starts servers of its own.
TESTERS ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
export DAGSTER_HOME ?= $(CURDIR)/data/dagster
export PYTHONUNBUFFERED = 1
# Without byte code every process start costs seconds.
unexport PYTHONDONTWRITEBYTECODE
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
LOCK   := $(BIN)/uv pip compile pyproject.toml requirements.in --no-strip-extras --constraint constraints.txt --universal \
          --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
          --no-config --custom-compile-command "make lock" --quiet
LOCK_ALONE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
          --no-emit-find-links --no-config --custom-compile-command "make lock" --quiet

.DEFAULT_GOAL := help
.PHONY: help run test test-polars-next test-gpu-plans test-slow deploy-check chaos dev stack bench eval lint docs lock clean setup setup-dev

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.runtime: requirements.txt pyproject.toml setup.cfg
	@echo "setting up $(VENV) (a few minutes the first time) ..."
	@test -x $(BIN)/pip || { \
	  $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	    echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 run"; exit 1; }; \
	  $(PYTHON) -m venv $(VENV); }
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@echo "adding the development tools and the real servers ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.runtime ## the environment alone

setup-dev: $(VENV)/.dev ## the environment with development tools and servers

run: setup ## the main job: sample days through every asset into ./data, then a summary
	@$(BIN)/conversation-analytics run

test: setup-dev ## all tests, with the real MongoDB, S3, PostgreSQL and NocoDB
	@$(BIN)/python -m pytest -m "not slow" -n $(TESTERS) --dist loadfile --durations=30

$(VENV)/polars-next: requirements-polars-next.txt $(VENV)/.dev
	@rm -rf $@
	@$(PIP) install --no-deps --require-hashes --target $@ -r requirements-polars-next.txt
	@touch $@

test-polars-next: $(VENV)/polars-next ## the computing parts on the next Polars, laid over the environment
	@PYTHONPATH=$(CURDIR)/$(VENV)/polars-next $(BIN)/python -c \
	  "import polars; assert polars.__version__ > '2', polars.__version__"
	@PYTHONPATH=$(CURDIR)/$(VENV)/polars-next $(BIN)/python -m pytest -q -n $(TESTERS) --dist loadfile \
	  -m "not slow and not mongodb and not s3 and not postgres and not nocodb" \
	  conversation_analytics_tests/core conversation_analytics_tests/lake \
	  conversation_analytics_tests/reports conversation_analytics_tests/test_road.py

# An environment of its own: the engine looks for its libraries in the environment's folder alone.
$(VENV)/gpu/.plans: requirements-gpu.txt $(VENV)/.dev
	@$(BIN)/python -m venv --clear $(VENV)/gpu
	@$(VENV)/gpu/bin/python -m pip --disable-pip-version-check -qq install --no-deps --no-compile \
	  --require-hashes -r requirements-gpu.txt
	@$(BIN)/python -c "import site; print(*site.getsitepackages(), sep='\n')" \
	  > "$$($(VENV)/gpu/bin/python -c 'import site; print(site.getsitepackages()[0])')/runtime.pth"
	@touch $@

test-gpu-plans: $(VENV)/gpu/.plans ## every plan is translated to the GPU engine: needs no GPU, but 3 GB of disk
	@GPU_PLANS=required $(VENV)/gpu/bin/python -m pytest -q \
	  conversation_analytics_tests/core/test_gpu_plans.py conversation_analytics_tests/gpu

test-slow: setup-dev ## the tests that are too long for CI, the whole real data set among them
	@$(BIN)/python -m pytest -m slow

$(VENV)/deploy-check/.tools: deploy/check.txt $(VENV)/.dev
	@rm -rf $(@D)
	@$(PIP) install --no-deps --require-hashes --target $(@D) -r deploy/check.txt
	@touch $@

deploy-check: $(VENV)/deploy-check/.tools ## deploy/ by Compose's own parser, hadolint and systemd; no engine
	@DEPLOY_CHECK=required $(BIN)/python -m pytest -q conversation_analytics_tests/deploy/test_tools.py \
	  conversation_analytics_tests/deploy/test_units.py

chaos: setup-dev ## what may happen to it, many times, into docs/faults.md
	@CHAOS_ROUNDS=40 CHAOS_KILLS=200 CHAOS_TABLE=docs/faults.md $(BIN)/python -m pytest -p no:randomly \
	  --timeout=7200 conversation_analytics_tests/faults

dev: setup ## Dagster UI on 127.0.0.1:3000 (PORT=...) with daemon, sensor and schedule
	@$(BIN)/conversation-analytics home
	@$(BIN)/dagster dev -h 127.0.0.1 -p $(PORT)

stack: setup-dev ## the real NocoDB, MongoDB and S3 on loopback with sample data, and a .env
	@$(BIN)/python -m conversation_analytics.stack

bench: setup-dev ## the benchmarks: ratios against named peers
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

eval: setup ## quality of the language parts (DATA=folder; LABELLED=file TASK=language|intent|sentiment|personal-data)
	@OMP_NUM_THREADS=1 $(BIN)/python -m conversation_analytics.evaluation \
	  $(if $(DATA),--data "$(DATA)") $(if $(LABELLED),--labelled "$(LABELLED)") $(if $(TASK),--task $(TASK))

lint: setup-dev ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py
	@$(BIN)/mypy deploy/*.py
	@MYPYPATH=$(subst $(eval) ,:,$(wildcard examples/*)) $(BIN)/mypy examples/*/*.py examples/*/*/*.py
	@$(BIN)/lint-imports

docs: setup-dev ## the generated pages and .env.example, then the site in build/site
	@$(BIN)/python -m conversation_analytics.generated
	@$(BIN)/python -m conversation_analytics.docs_site

lock: setup-dev ## the lock files, with hashes and without addresses
	@$(LOCK) -o requirements.txt
	@$(LOCK) --extra deploy --constraint requirements.txt -o deploy/requirements.txt
	@$(LOCK) --extra deploy --extra stack --extra dask --extra dev --constraint deploy/requirements.txt -o requirements-dev.txt
	@$(LOCK_ALONE) requirements-polars-next.in -o requirements-polars-next.txt
	@$(LOCK_ALONE) requirements-gpu.in --constraint requirements.txt -o requirements-gpu.txt
	@$(LOCK_ALONE) deploy/check.in -o deploy/check.txt
	@$(LOCK_ALONE) conversation_analytics/stack/libretranslate.in \
	  -o conversation_analytics/stack/libretranslate.txt
	@$(LOCK_ALONE) --no-deps conversation_analytics_tests/exports/convokit.in \
	  -o conversation_analytics_tests/exports/convokit.txt

clean: ## remove what was made, the environment and ./data included
	rm -rf $(VENV) data build *.egg-info
