# landweave: `make help` lists the commands. The first command that needs .venv sets it up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := PYTHONPATH=. $(BIN)/python
DATA := data

# Tests run in as many processes as the machine has cores, at most 8 of them: each needs up to 2 GB of memory.
TESTS := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadgroup

.PHONY: help site docs bench mutate quickstart test test-fast test-cluster test-cluster-quick test-faults test-online test-packages check format schema lock lock-images image wheel clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# One environment for everything; tests and checks add packages to it. A stamp is renewed when the lists change.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "landweave needs Python 3.11 or newer; none was found on the PATH"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.factory: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing the factory's packages into $(VENV) (about a minute) ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group factory
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.check: pyproject.toml constraints.txt | $(VENV)/.factory
	@echo "installing the packages that tests and checks need, torch among them (a few minutes) ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group check
	@touch $@

quickstart: $(VENV)/.factory  ## build data/quickstart/ from a miniature Earth, draw its picture, read it back
	$(RUN) -m testbed make $(DATA)/earth
	$(RUN) -m testbed run $(DATA)/earth -- $(BIN)/python -m pipelines build recipes/quickstart.yaml $(DATA)/quickstart
	@[ $(DATA)/quickstart/contact-sheet.png -nt $(DATA)/quickstart/landweave.json ] || \
		$(RUN) -m landweave show $(DATA)/quickstart $(DATA)/quickstart/contact-sheet.png
	@echo "its picture: $(DATA)/quickstart/contact-sheet.png"
	$(RUN) docs/read_a_sample.py $(DATA)/quickstart
	@echo "look at it in a browser: $(BIN)/python -m landweave browse $(DATA)/quickstart"

test: $(VENV)/.check  ## run every test that needs no network (sets up everything first)
	$(TESTS) -m "not cluster" --durations 30 --durations-min 5

test-fast: $(VENV)/.check  ## run the tests that take seconds (under three minutes in all)
	$(TESTS) -m "not slow and not cluster"

$(VENV)/.deploy: pyproject.toml constraints.txt | $(VENV)/.check
	@echo "installing Flink, Prism and what checks deploy/ (Java and Go are needed; 900 MB, a few minutes) ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group deploy
	$(RUN) -m deploy.flink.install flink
	$(RUN) -m deploy.flink.install prism
	@touch $@

test-packages: $(VENV)/.check  ## install each group and extra into its own environment, and use it (needs a network)
	LANDWEAVE_PACKAGES=pip $(BIN)/python -m pytest --timeout 1800 tests/packages -k "$(or $(ONLY),images_packages or typed)"

test-faults: $(VENV)/.check  ## kill builds, additions and exports 155 times, lose power at every step (hours)
	LANDWEAVE_FAULTS=whole $(BIN)/python -m pytest --timeout 0 tests/faults/test_faults_kills.py tests/faults/test_faults_power.py

test-cluster: $(VENV)/.deploy  ## run the tests that start real clusters on this machine, with network namespaces as hosts
	$(BIN)/python -m pytest -m cluster tests/cluster
	$(BIN)/python -m pytest tests/cluster/test_flink_files.py

# One real cluster, the same bytes, a killed taskmanager, a disconnected store: CI tests this for every change.
test-cluster-quick: $(VENV)/.check  ## the part of test-cluster that takes minutes (installs Flink; needs Java)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group deploy
	$(RUN) -m deploy.flink.install flink
	$(BIN)/python -m pytest tests/cluster/test_flink_files.py tests/cluster/test_flink_build.py \
		"tests/cluster/test_hosts.py::test_a_store_that_is_cut_off_for_a_while_costs_time_only"

test-online: $(VENV)/.check  ## build ten samples from each real archive that this machine has a login for (needs a network)
	$(BIN)/python -m pytest --online -m online tests/online -rs

check: $(VENV)/.check  ## lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.check  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.factory  ## compare reading with other tools, in short (installs them; makes 1.5 GB of scenes the first time)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(RUN) -m benchmarks.reading --quick

mutate: $(VENV)/.check  ## plant small faults in the code, one at a time, and count how many the fast tests detect (an hour)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group mutate
	$(RUN) -m benchmarks.mutation --workers 2

schema: $(VENV)/.factory  ## write the recipe's JSON Schema for editors, and its reference page
	$(RUN) -m pipelines schema > docs/recipe.schema.json
	$(RUN) -m pipelines schema --page > docs/recipe.md

# The site is built into build/site; every warning is an error.
site: $(VENV)/.check quickstart  ## build the documentation's site into build/site; its notebooks show the quick start
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs: site  ## build the site and serve it on this machine
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

# Versions are those installed and tested here; hashes cover every file of them in the index, for all platforms.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11
lock: $(VENV)/.check  ## write constraints.txt and deploy/flink/requirements.txt, with hashes, from the tested versions
	$(BIN)/python -m pip install --quiet --group lock
	$(BIN)/python -m pip freeze --exclude-editable | grep -v ' @ ' > $(VENV)/tested.txt
	$(LOCK) --universal --no-strip-markers --constraint $(VENV)/tested.txt --output-file constraints.txt pyproject.toml \
		$(foreach group,check bench deploy docs frameworks mutate,--group $(group))
	$(LOCK) --no-deps --output-file deploy/flink/requirements.txt deploy/flink/requirements.txt

lock-images:  ## ask the registries for the current digests of the base images (needs a network); commit the result
	$(PYTHON) -m deploy.images lock

TARGET := flink
image:  ## build an image of deploy/Dockerfile on pinned bases: make image TARGET=flink (needs docker)
	$(PYTHON) -m deploy.images build $(TARGET)

wheel: $(VENV)/.check  ## build the reader's wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove all files that the commands above made, including data
	rm -rf $(VENV) $(DATA) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
