# The few commands a person types. `make test` and `make demo` need nothing but Python 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
PLUGINS = $(wildcard plugins/vlmad-*)
CODE    = vlmad_core plugins tests docs benchmarks

.PHONY: help demo test test-all venv check lint types layers unit format wheels benchmark accuracy learned clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

demo:  ## real solar cells by words alone, then with 4 normals: fresh environment, heat maps side by side, in minutes
	$(PYTHON) -m venv --clear .demo/venv
	.demo/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt \
	  . ./plugins/vlmad-compositional ./plugins/vlmad-pocket elpv-dataset==1.0.0.post1
	.demo/venv/bin/python docs/examples/solar_cells.py --out .demo/solar-cells

test: venv check  ## fresh environment, then lint, types, layers and tests

test-all: venv  ## the same with the slow tests
	$(MAKE) check MARK=""

venv:  ## a fresh environment with everything, the plugins editable
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) torch torchvision
	$(PIP) --requirement .ci/requirements.txt --editable ".[open-clip,evaluation,training,tensorboard,distributed]" $(addprefix --editable ./,$(PLUGINS))

check: lint types layers unit  ## lint, types, layers and tests in the environment that is there

lint:  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:  ## mypy --strict on the core and on each plugin
	$(BIN)/mypy -p vlmad_core $(foreach plugin,$(PLUGINS),-p $(subst -,_,$(notdir $(plugin))))

layers:  ## who may import whom
	$(BIN)/lint-imports --no-cache

MARK ?= -m "not slow"
# Every Python that the tests start finds a sitecustomize there that refuses any address but this machine's own.
OFFLINE = VLMAD_TESTS_OFFLINE=1 PYTHONPATH=$(CURDIR)/tests/offline
unit:  ## the tests with the network blocked, every warning an error
	OMP_NUM_THREADS=1 $(OFFLINE) $(BIN)/python -m pytest -n 2 $(MARK) --cov --cov-report=term:skip-covered --cov-fail-under=90

format:  ## put the code into shape
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

wheels:  ## every distribution as a wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . $(addprefix ./,$(PLUGINS))

benchmark:  ## speed against anomalib and against loops of the papers' cost structure, both sides in one run
	$(BIN)/python plugins/vlmad-winclip/benchmarks/winclip_vs_anomalib.py
	$(BIN)/python plugins/vlmad-april-gan/benchmarks/inference.py
	$(BIN)/python plugins/vlmad-learned-prompts/benchmarks/inference.py
	$(BIN)/python plugins/vlmad-learned-prompts/benchmarks/training.py
	$(BIN)/python plugins/vlmad-pocket/benchmarks/speed.py

DATA ?= data
accuracy:  ## accuracy on real pictures: sets in DATA, solar cells, textile; goes on after a stop
	$(PIP) elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4
	$(BIN)/python plugins/vlmad-pocket/benchmarks/accuracy.py --data $(DATA) --recipes patch-memory pocket pocket-few-shot

GENERATED = .generated
learned:  ## what training brings: generated pictures, five seeds, across domains; goes on after a stop
	$(PIP) elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4
	cd plugins/vlmad-pocket/build && $(CURDIR)/$(BIN)/python -m pictures --out $(CURDIR)/$(GENERATED)/train --count 640 --seed 900000000
	cd plugins/vlmad-pocket/build && $(CURDIR)/$(BIN)/python -m pictures --out $(CURDIR)/$(GENERATED)/held --count 300 --seed 950000000
	$(BIN)/python plugins/vlmad-pocket/benchmarks/learned.py --data $(DATA) --generated $(GENERATED)/train --held $(GENERATED)/held

clean:  ## remove what these commands made
	rm -rf .venv .demo .generated dist .mypy_cache .ruff_cache .pytest_cache .coverage
