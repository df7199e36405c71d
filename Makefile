# The words of this project; `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup run ablations compare trials check test test-all bench data ui serve clean-old

help: ## list the words
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

setup: .venv/.ready ## make the environment in .venv from the lock file

.venv/.ready: requirements.lock pyproject.toml
	@echo "environment  .venv by $(PYTHON): some 2 GB, a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -q --progress-bar off $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

run: .venv/.ready ## catalogue in data/ (a generated sample, if nothing is there) -> models, metrics, report
	@$(BIN)/python -m flows.run

ablations: .venv/.ready ## the paper's Table 4, every column with every seed; goes on where it was stopped
	@$(BIN)/dvc repro ablations/dvc.yaml

compare: .venv/.ready ## the family of systems, pre-trained for the same time; goes on where it was stopped
	@$(BIN)/dvc repro compare/dvc.yaml

trials: .venv/.ready ## dual encoders taught for the same time, every row with every seed; goes on where it was stopped
	@$(BIN)/dvc repro trials/dvc.yaml

check: .venv/.ready ## format, lint, floors of imports, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: .venv/.ready ## the fast tests
	$(BIN)/pytest -q

test-all: .venv/.ready ## the slow tests too
	$(BIN)/pytest -q -m ""

bench: .venv/.ready ## what is fast, beside what one would pick instead
	@for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python $$file || exit 1; done

data: .venv/.ready ## FROM=folder, file, s3:// address or sample: bring another catalogue into data/ (FEED=1 to follow it)
	@$(BIN)/python -m flows.data $(if $(FEED),--feed) "$(FROM)"

clean-old: .venv/.ready ## delete what is older than params.yaml keeps (DRY=1 only says what that is)
	@$(BIN)/python -m flows.retention $(if $(DRY),--dry-run)

ui: .venv/.ready ## Prefect and MLflow in the browser, on this machine only; what prefect.yaml says runs by the clock
	@$(BIN)/python -m flows.ui

serve: .venv/.ready ## search what was made, in the browser and over HTTP (HOST, PORT; FASHIONVL_API_KEY asks for a key)
	@$(BIN)/python -m flows.serve $(SYSTEM) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))
