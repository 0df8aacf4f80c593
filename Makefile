# Every target sets up what it needs the first time, in .venv of this checkout.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Appwrite's SDKs that tests/sdk drives, each in an environment of its own; environments/NAME there locks what is in it.
SDKS       := python-9.0.3 python-20.1.0 python-27.0.0 node-27.1.0 web-27.0.0
OTHER_SDKS := node-14.2.0
installed   = $(patsubst %,.sdk/%/.installed,$(1))

# of `make fuzz`
EXAMPLES ?= 25
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif

# where it is set, every process compiles the tests again: 3 s of CPU each
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test sdk check fuzz format bench clean lock providers neighbours

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the locked dependencies

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Tidings needs Python 3.11 or newer; this is %s. Set PYTHON=/path/to/python3.11" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## run the main job on embedded Postgres and Redis: 20,000 people, four messages, one killed worker
	@$(BIN)/tidings demo

up: $(STAMP) ## start everything with embedded engines and the simulator; Ctrl-C stops it
	@$(BIN)/tidings up

.sdk/python-%/.installed: tests/sdk/environments/python-%/requirements.txt | $(STAMP)
	@echo "Installing Appwrite's Python SDK $* into $(@D) ..."
	@rm -rf $(@D)
	@$(BIN)/python -m venv --without-pip $(@D)
	@$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check --require-hashes -r $< \
		|| { echo "Cannot install Appwrite's Python SDK $*: is the package index within reach?" >&2; exit 1; }
	@touch $@

# $(1): what is installed, $(2): what is left out without Node, when nothing is installed
define install_npm
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node is not installed; $(2)."; exit 0; }; \
	echo "Installing $(1) into $(@D) ..."; \
	rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D) && \
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $@ \
		|| { echo "Cannot install $(1): is npm's registry within reach?" >&2; exit 1; }
endef

.sdk/%/.installed: tests/sdk/environments/%/package-lock.json tests/sdk/environments/%/package.json
	$(call install_npm,Appwrite's JavaScript SDK $*,the tour of $* will be skipped)

.sdk/clients/.installed: tests/benchmarks/clients/node/package-lock.json tests/benchmarks/clients/node/package.json
	$(call install_npm,client libraries for the benchmarks,node-apn and nodemailer will not be measured)

test: check $(call installed,$(SDKS)) ## the checks, then all tests, on two cores
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

sdk: $(STAMP) $(call installed,$(SDKS) $(OTHER_SDKS)) ## tour the API with Appwrite's SDKs, one more than in `make test`
	@$(BIN)/python -m pytest tests/sdk -m ""

providers: $(STAMP) ## every provider at length: its whole contract, its simulator, and campaigns while everything goes wrong
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "" \
		tests/contract tests/unit/providers tests/integration/simulator tests/flow/providers

check: $(STAMP) ## ruff, formatting, mypy strict, import contracts, the description of the API
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m tests.openapi_document --check

fuzz: $(STAMP) ## hold the API against its description with random requests: EXAMPLES to each operation, from SEED
	@echo "Once more the same: make fuzz EXAMPLES=$(EXAMPLES) SEED=$(SEED)"
	@$(BIN)/python -m pytest tests/fuzz --timeout 0 --fuzz-examples $(EXAMPLES) --fuzz-seed $(SEED)

format: $(STAMP) ## let ruff fix and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) .sdk/clients/.installed ## measure throughput, beside two peers and six client libraries in the same run
	@$(BIN)/python -m tests.benchmarks

neighbours: $(STAMP) ## who feels whose trouble: each provider silent, slow, gone ..., each hostile message; a quarter of an hour
	@$(BIN)/python -m tests.benchmarks --only neighbours

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

lock: $(STAMP) ## pin the dependencies again, hashes included (needs uv and npm on the PATH)
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	for sdk in tests/sdk/environments/python-*; do (cd $$sdk && $(COMPILE) --quiet requirements.in -o requirements.txt) || exit 1; done
	for packages in $(dir $(wildcard tests/sdk/environments/*/package.json tests/benchmarks/clients/node/package.json)); do \
		(cd $$packages && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund) || exit 1; done

clean: ## remove .venv, .sdk, caches and the data of `make demo` and `make up`
	@test ! -f .tidings/engines.location || rm -rf "$$(cat .tidings/engines.location)"
	rm -rf $(VENV) .sdk .tidings .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
