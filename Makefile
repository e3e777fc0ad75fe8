# spamguard: the front door. `make` alone explains itself.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?=
MODELS ?= models
LOCKED := --disable-pip-version-check --quiet --require-hashes

.DEFAULT_GOAL := help
.PHONY: help demo test faults env check format contract kafka kafka-jars kafka-stop model bench lock clean

##@ Start here
help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.base ## set up and watch messages being judged (in memory; no Kafka, Java or Docker)
	@$(BIN)/spamguard demo

test: $(VENV)/.dev ## set up and run every test; real components run when present
	@$(BIN)/pytest

faults: $(VENV)/.dev kafka-jars ## break everything around a real service and count; renews the table in docs/operations.md
	@FAULT_TABLE=write $(BIN)/pytest tests/faults/test_fault_table.py

##@ Work on it
env: $(VENV)/.dev ## set up what training and the checks need

check: $(VENV)/.dev ## formatting, lint, types, the layers of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contract: $(VENV)/.dev ## renew the contract's files from the types (docs/contract)
	@$(BIN)/python -m spamguard.contract docs/contract

bench: $(VENV)/.dev ## measure speed against the plain way and service; with Kafka's jars the whole service too
	$(BIN)/python tests/bench/run.py --write
	$(BIN)/python tests/bench/gateway.py --write

##@ Kafka for development
kafka: kafka-jars ## fetch and run Apache Kafka on 127.0.0.1:9092, in the foreground (needs Java 17 and Maven)
	@$(PYTHON) deploy/kafka/kafka.py run

kafka-jars: ## fetch Kafka's jars from Maven Central once
	@$(PYTHON) deploy/kafka/kafka.py fetch

kafka-stop: ## stop a Kafka that runs in the background
	@$(PYTHON) deploy/kafka/kafka.py stop

##@ Models
model: $(VENV)/.dev ## train the shipped model: make model DATA=<folder of corpora>
	@test -n "$(DATA)" || { echo "Say where the corpora are: make model DATA=<folder> (datasets/README.md)"; exit 2; }
	@$(BIN)/spamguard train $(DATA) $(wildcard $(DATA)/modern.jsonl.gz) --families datasets/families \
	  --recipe training/recipes/shipped.toml --overlay datasets/overlay.jsonl --sources datasets/sources.toml \
	  --out $(MODELS) --promote

##@ Housekeeping
lock: ## renew the lock files (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --upgrade pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --upgrade pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --upgrade pyproject.toml --extra client --extra gateway --extra review -c requirements-dev.lock \
	  -o requirements-serving.lock

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.base: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spamguard needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements-dev.lock
	@echo "Adding what tests and training need …"
	@$(BIN)/python -m pip install $(LOCKED) -r requirements-dev.lock
	@touch $@
