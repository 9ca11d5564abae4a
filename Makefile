# Three commands matter: `make demo`, `make check` and `make test`. Each installs what it needs first;
# `make check` needs only git, make and python3 with its venv module, and no rights.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
CLOUD_VENV := .venv-devcloud
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SOURCE ?= mirror
# Some machines have it set: hundreds of programs that tests start would compile ours anew, each time.
unexport PYTHONDONTWRITEBYTECODE
# Whole files of tests go to each process, in the order that tests/conftest.py gives them.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Beside the boots of tests/e2e there is room for one process. The tests of CLOUD wait half of their time, for
# leases, intervals and answers: with two processes, the processors are idle then.
BOOTS := tests/component tests/e2e tests/faults tests/fuzz tests/hostile
CLOUD := tests/integration tests/model tests/unit tests/upgrade
# What decides, and imports no I/O: coverage and mutation are read of these.
PURE := retrofit/source/*,retrofit/plan/*,retrofit/fleet/*,retrofit/publish/rotate.py
# What the host trusts for its own downloads has no meaning to a cloud on loopback.
DEMO := $(BIN)/python -m tests.devcloud

.PHONY: help
help: ## List what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: setup ## From nothing to a promoted amphora image in a real Keystone and Glance; OCTAVIA=1: and load balancers
	@$(SUDO) $(BIN)/python -m tests.devcloud.demo up --source $(SOURCE) $(if $(filter-out 0,$(OCTAVIA)),--octavia)

.PHONY: demo-serial
demo-serial: setup ## Publish a newer serial in the demo's mirror and sync it into Glance
	@$(SUDO) $(BIN)/python -m tests.devcloud.demo serial

.PHONY: demo-fix
demo-fix: setup ## Publish a security fix in the package archive that the demo's source image names
	@$(SUDO) $(BIN)/python -m tests.devcloud.demo fix

.PHONY: demo-down
demo-down: ## Stop the demo's cloud and delete what the demo made
	@test ! -x $(BIN)/python || $(SUDO) $(BIN)/python -m tests.devcloud.demo down

.PHONY: check
check: ## Style, types, imports and unit tests: what to run before each commit
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint unit

# `make test` runs these with all the others.
.PHONY: unit
unit: $(VENV)/.installed
	$(PYTEST) -q tests/unit tests/model

# An exception that one thread raises in another is lost in the tracer: without test_deadline.
.PHONY: coverage
coverage: $(VENV)/.installed ## What unit tests reach: all of it in dist/coverage, the pure packages here
	$(PYTEST) -q --cov --cov-report=html --cov-report= --ignore=tests/unit/system/test_deadline.py tests/unit tests/model
	$(BIN)/coverage report --skip-empty --include='$(PURE)'
	@echo "retrofit and scheduler: $$($(BIN)/coverage report --format=total) %, dist/coverage/index.html"

# MUTANTS="retrofit.plan.backoff*" tries some of them.
.PHONY: mutation
mutation: $(VENV)/.installed-mutation ## Change the pure packages in thousands of ways, and list what no test notices
	nice $(BIN)/mutmut run --max-children 2 $(MUTANTS)
	$(BIN)/mutmut results

.PHONY: bench
bench: setup ## Measure: memory of a download, of a worker over a thousand runs, cost of asking the archive, time of a trial and of doctor
	$(SUDO) $(BIN)/python -m pytest -q -s tests/benchmarks
	$(BIN)/python -m tests.benchmarks.worker_runs

# What comes before the tests is half waiting for packages, half type checks: side by side.
PREPARE := $(MAKE) --no-print-directory --jobs 2 --output-sync=target setup old-release lint docs

.PHONY: test
test: venv-module ## The whole test suite but the slow matrix
	@$(PREPARE)
	@failed=0; \
	$(SUDO) $(PYTEST) -m "not slow and not bench" $(BOOTS) || failed=$$?; \
	$(SUDO) $(PYTEST) -n 3 -m "not slow and not bench" $(CLOUD) || failed=$$?; \
	exit $$failed

.PHONY: test-all
test-all: venv-module ## The full matrix: layouts, agent sources, firmware
	@$(PREPARE) setup-all
	$(SUDO) env HISTORIES=10000 CONFIGURATIONS=10000 LOAD_BALANCERS=200 $(PYTEST)

.PHONY: lint
lint: lint-style lint-types lint-imports lint-shell ## Style, types, imports, shell

.PHONY: lint-style
lint-style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: lint-types
lint-types: $(VENV)/.installed
	$(BIN)/mypy
	MYPYPATH=charm/src $(BIN)/mypy charm/src
	MYPYPATH=charm/src $(BIN)/mypy --implicit-reexport --cache-dir .mypy_cache/tests -p tests

.PHONY: lint-imports
lint-imports: $(VENV)/.installed
	$(BIN)/lint-imports

.PHONY: lint-shell
lint-shell: $(VENV)/.installed
	git ls-files -z '*.sh' .ci/run | xargs -0 $(BIN)/shellcheck
	git ls-files -z '*.sh' .ci/run | xargs -0 $(BIN)/bashate -i E006

.PHONY: docs
docs: $(DOCS_VENV)/.installed ## Build the documentation as a site in dist/site; a broken link is an error
	$(DOCS_VENV)/bin/sphinx-build --builder html --fresh-env --nitpicky --fail-on-warning --keep-going --quiet docs dist/site

.PHONY: reference
reference: $(VENV)/.installed ## Write the generated pages: docs/reference and man
	$(BIN)/python -m tools.reference
	$(BIN)/python -m tools.man_pages

.PHONY: release
release: $(VENV)/.installed ## Wheel, sdist, container file and bill of materials of the last commit, in dist
	$(BIN)/python -m tools.release dist

.PHONY: hooks
hooks: $(VENV)/.installed ## Have git run the checks before each commit, and unit tests before each push
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type pre-push

.PHONY: setup
setup: venv-module $(VENV)/.installed $(CLOUD_VENV)/.installed .cache/packages-installed

# A virtual environment needs ensurepip, which Debian packages apart.
.PHONY: venv-module
venv-module:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; }

$(VENV)/.installed: requirements/test.txt pyproject.toml retrofit/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "retrofit needs Python 3.11 or newer: run make with PYTHON=python3.12, say" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks its venv module: install python3-venv (Debian, Ubuntu: apt-get install python3-venv), then run make again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(CLOUD_VENV)/.installed: requirements/devcloud.txt
	$(PYTHON) -m venv $(CLOUD_VENV)
	$(CLOUD_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/devcloud.txt
	@touch $@

$(DOCS_VENV)/.installed: requirements/docs.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

.cache/packages-installed: bindep.txt $(VENV)/.installed
	@missing=$$($(BIN)/bindep -b test || true); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		$(SUDO) apt-get update -qq; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@mkdir -p .cache && touch $@

# What tests/upgrade upgrades from; made once.
.PHONY: old-release
old-release: $(VENV)/.installed
	@$(BIN)/python -m tests.upgrade.release

.PHONY: setup-all
setup-all: .cache/packages-installed-all $(VENV)/.installed-fuzz

$(VENV)/.installed-fuzz: requirements/fuzz.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

$(VENV)/.installed-mutation: requirements/mutation.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mutation.txt
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
		--no-header --no-annotate --group mutation -c requirements/test.txt -o requirements/mutation.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --group docs -c requirements/run.txt -o requirements/docs.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate requirements/build.in -c requirements/test.txt -o requirements/build.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate requirements/devcloud.in -o requirements/devcloud.txt

.PHONY: clean
clean: demo-down ## Delete everything that was made
	$(SUDO) rm -rf $(VENV) $(CLOUD_VENV) $(DOCS_VENV) .cache .demo dist mutants
