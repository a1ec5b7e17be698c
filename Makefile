# Two commands matter: `make run` and `make test`. Everything else is listed by `make help`.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# uv uses an installed interpreter and downloads none.
export UV_PYTHON_DOWNLOADS := never
# Switch off the telemetry of all libraries.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := False
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export TF_CPP_MIN_LOG_LEVEL := 2

HOST ?= 127.0.0.1
MLFLOW_PORT ?= 5000
PREFECT_PORT ?= 4200

.PHONY: help doctor setup data run test check lint types unit coverage benchmark ui profile reproduce lock clean bandit audit images serve up train docs relocate shape soak

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed $(VENV)/bin/mien ## install the locked environment into .venv (and uv, if it is missing)

doctor: setup ## say what this machine and this checkout lack, and what to do about it
	@mien doctor

# `pip --target` also works on a Python whose distribution forbids global installs (PEP 668).
$(VENV)/.installed: requirements/dev.txt
	@UV=$$(command -v uv || ls .tools/bin/uv 2>/dev/null) || { \
	  PATH="$(SYSTEM_PATH)" python3 -m pip install --quiet --target .tools 'uv>=0.8,<1' && UV=.tools/bin/uv; } \
	  || { echo "error: uv is missing and pip could not install it; install python3-pip or uv" >&2; exit 1; }; \
	  [ -x $(VENV)/bin/python ] || $$UV venv --quiet --python '>=3.11,<3.13' $(VENV); \
	  $$UV pip sync --quiet --python $(VENV)/bin/python requirements/dev.txt
	@touch $@

# Copied, not installed: an installed project could be imported everywhere, also where another commit is meant
# (docs/decisions/0023-one-command.md).
$(VENV)/bin/mien: requirements/mien | $(VENV)/.installed
	@install -m 755 $< $@.$$$$ && mv -f $@.$$$$ $@

# Fetch everything before checking out anything: an incomplete folder would look like the data set.
data: setup ## fetch the pictures that data.dvc names: the sample from the repository, yours from your remote
	@[ -d data ] || [ -f data.dvc ] || { \
	  echo "error: there is neither data/ nor data.dvc; put pictures into data/<class>/" \
	    "and run 'dvc add data' (docs/dataset.md)" >&2; exit 1; }
	@[ -d data ] || { dvc fetch data.dvc && dvc checkout data.dvc; } || { \
	  echo "error: the pictures that data.dvc names could not be fetched, DVC's reason stands above;" \
	    "'dvc remote list' shows where it looks. Name their remote with 'dvc remote add --default NAME URL'," \
	    "its keys with 'dvc remote modify --local NAME …' (docs/dataset.md#versions-and-remotes), then run make again" \
	    >&2; exit 1; }

demo: data ## serve the model that comes with the sample, on port 8000; nothing is trained
	@mien demo

run: data ## [JOBS=n] train and compare seven models, register the best one, write a report
	@mien run $(if $(JOBS),--jobs $(JOBS))

# Three processes for two cores: tests wait for servers and processes now and then (1.7 cores were busy).
test: check ## run linters, type checks, import contracts and every test
	@python -m pytest -n 3 --no-loadscope-reorder tests/e2e tests/integration

check: setup ## run ruff, mypy, import contracts, `make shape` and unit tests
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
	  unit types lint shape

lint: setup ## run ruff and check the import contracts
	@ruff check --no-cache .
	@ruff format --check .
	@lint-imports --no-logo 2>/dev/null || lint-imports

types: setup ## run mypy in strict mode, on code and tests
	@mypy

shape: setup ## show sizes and imports of the source tree; fail where they got worse (tests/shape.toml)
	@python tests/shape.py

unit: setup ## run the tests that need neither TensorFlow nor servers
	@python -m pytest tests/unit

coverage: setup ## run the unit tests and measure what they reach; fail below `fail_under` of pyproject.toml
	@coverage erase
	@coverage run -m pytest tests/unit
	@coverage combine --quiet
	@coverage report

benchmark: setup ## measure every figure of docs/benchmarks.md, on an idle machine (needs wrk and a package index)
	@python -m benchmarks.report

soak: setup ## run the service for an hour under load, with a promotion every minute (docs/benchmarks.md)
	@python -m benchmarks.soak

ui: setup ## start MLflow's pages: runs, registry, promotion
	@python -m pipelines.tracking.relocation --check
	@echo "MLflow: http://$(HOST):$(MLFLOW_PORT)"
	@mlflow server --backend-store-uri sqlite:///mlruns/mlflow.db \
	  --artifacts-destination mlruns/artifacts --host $(HOST) --port $(MLFLOW_PORT) --workers 1

relocate: setup ## correct MLflow's recorded paths after copying or moving the project
	@mien relocate

serve: setup ## start the service on port 8000; it follows models:/emotion@production (docs/serving.md)
	@mien serve

up: setup ## start MLflow, Prefect, a worker and the service; Ctrl-C stops all (docs/flows.md)
	@HOST=$(HOST) MLFLOW_PORT=$(MLFLOW_PORT) PREFECT_PORT=$(PREFECT_PORT) mien up

train: export REASON ?=
train: setup ## REASON="…": start a training by the worker of `make up` and follow it to its end
	@PREFECT_API_URL=http://$(HOST):$(PREFECT_PORT)/api mien train --reason "$$REASON"

profile: setup ## NAME=sample|fer2013|full|tiny: write params.yaml from conf/
	@mien profile $(NAME)

reproduce: setup ## VERSION=n [FROM_SCRATCH=1]: rebuild a registered version from its commit and compare
	@mien reproduce $(VERSION) $(if $(FROM_SCRATCH),--from-scratch) $(if $(ANYWAY),--anyway)

bandit: setup ## look for dangerous calls in the code with bandit
	@bandit --quiet --recursive --severity-level medium --configfile pyproject.toml serving pipelines flows clients

audit: setup ## check the locked packages for known vulnerabilities (uses the network)
	@for file in requirements/*.txt; do echo "$$file"; \
	  pip-audit --strict --progress-spinner off --require-hashes --disable-pip --requirement "$$file"; done

images: setup ## build the images without a container engine and test the service's image (root; docs/deploy.md)
	@deploy/check-images

docs: setup ## build the guides as a site in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet && echo "site/index.html"

lock: setup ## resolve requirements/*.txt again from pyproject.toml
	@requirements/lock

clean: ## delete what git ignores and the pipeline can make again, except mlruns/ and data/
	@git clean -fdXq -- prepared validation weights models onnx evaluations reports .checkpoints site
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
