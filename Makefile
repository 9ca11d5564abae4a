# Two commands matter: `make demo` and `make test`. Both install what they need first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
CLOUD_VENV := .venv-devcloud
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SOURCE ?= mirror
# Files of tests go to two processes, in the order given: those of tests/e2e, which take longest, first.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# What the host trusts for its own downloads has no meaning to a cloud on loopback.
DEMO := $(BIN)/python -m tests.devcloud

.PHONY: help
help: ## List what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: setup ## From nothing to a promoted amphora image in a real Keystone and Glance
	@$(SUDO) $(BIN)/python -m tests.devcloud.demo up --source $(SOURCE)

.PHONY: demo-serial
demo-serial: setup ## Publish a newer serial in the demo's mirror and sync it into Glance
	@$(SUDO) $(BIN)/python -m tests.devcloud.demo serial

.PHONY: demo-down
demo-down: ## Stop the demo's cloud and delete what the demo made
	@test ! -x $(BIN)/python || $(SUDO) $(BIN)/python -m tests.devcloud.demo down

.PHONY: test
test: setup lint ## The whole test suite but the slow matrix
	$(SUDO) $(PYTEST) -m "not slow"

.PHONY: test-all
test-all: setup setup-all lint ## The full matrix: layouts, agent sources, firmware
	$(SUDO) $(PYTEST)

.PHONY: lint
lint: setup ## Style, types, imports, shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=charm/src $(BIN)/mypy charm/src
	$(BIN)/lint-imports
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
	git ls-files -z '*.sh' .ci/run | xargs -0 $(BIN)/bashate -i E006

.PHONY: setup
setup: $(VENV)/.installed $(CLOUD_VENV)/.installed .cache/packages-installed

# A virtual environment needs ensurepip, which Debian packages apart.
$(VENV)/.installed: requirements/test.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(CLOUD_VENV)/.installed: requirements/devcloud.txt
	$(PYTHON) -m venv $(CLOUD_VENV)
	$(CLOUD_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/devcloud.txt
	@touch $@

.cache/packages-installed: bindep.txt $(VENV)/.installed
	@missing=$$($(BIN)/bindep -b test || true); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		$(SUDO) apt-get update -qq; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@mkdir -p .cache && touch $@

.PHONY: setup-all
setup-all: .cache/packages-installed-all $(VENV)/.installed-fuzz

$(VENV)/.installed-fuzz: requirements/fuzz.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

.cache/packages-installed-all: bindep.txt .cache/packages-installed
	@missing=$$($(BIN)/bindep -b test test-all || true); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		$(SUDO) apt-get update -qq; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@touch $@

.PHONY: lock
lock: ## Pin the dependencies anew (needs uv)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --all-extras -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --all-extras --group test -c requirements/run.txt -o requirements/test.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --group fuzz -c requirements/test.txt -o requirements/fuzz.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate requirements/build.in -c requirements/test.txt -o requirements/build.txt

.PHONY: clean
clean: demo-down ## Delete everything that was made
	$(SUDO) rm -rf $(VENV) $(CLOUD_VENV) .cache .demo dist
