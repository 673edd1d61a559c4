# The few commands a person types. `make test` and `make demo` need nothing but Python 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
PLUGINS = $(wildcard plugins/vlmad-*)
CODE    = vlmad_core plugins tests docs benchmarks

.PHONY: help demo test test-all browser venv check lint types layers unit format wheels docs gallery pages parity wheelhouse runtime sbom licences release benchmark gpu accuracy verdicts line learned clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

demo:  ## real solar cells by words alone, then with 4 normals: fresh environment, heat maps side by side, in minutes
	$(PYTHON) -m venv --clear .demo/venv
	.demo/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt \
	  . ./plugins/vlmad-compositional ./plugins/vlmad-pocket elpv-dataset==1.0.0.post1
	.demo/venv/bin/python docs/examples/solar_cells.py --out .demo/solar-cells

test: venv check  ## fresh environment, then lint, types, layers and tests

test-all: venv wheelhouse browser  ## the same with the slow tests
	$(MAKE) check MARK=""

browser:  ## Debian's chromium, for the tests of the report page, where there is none
	command -v chromium > /dev/null || (apt-get update --quiet && apt-get install --yes --quiet chromium)

venv:  ## a fresh environment with everything, the plugins editable
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) torch torchvision
	$(PIP) --requirement .ci/requirements.txt --editable ".$(ALL)" $(addprefix --editable ./,$(PLUGINS))

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

wheels:  ## every distribution in dist/: its sdist, and the wheel built from that
	rm -rf dist
	for folder in . $(PLUGINS); do $(BIN)/python -m build --quiet --no-isolation --outdir dist $$folder || exit 1; done

EXTRAS = open-clip,evaluation,training
wheelhouse: wheels  ## all that an offline machine of this kind needs, in wheelhouse/: our wheels and everyone else's
	rm -rf wheelhouse
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --constraint .ci/constraints.txt --only-binary :all: \
	  --dest wheelhouse dist/*.whl "$$(ls dist/vlmad_core-*.whl)[$(EXTRAS)]"
	cd wheelhouse && sha256sum *.whl > SHA256SUMS

# An environment with what runs and no tool, for the two lists below; RUN=[extras] of the core.
RUN ?=
RUNTIME = .runtime/bin/python
runtime:
	$(PYTHON) -m venv --clear --without-pip .runtime
	$(BIN)/python -m pip --python $(RUNTIME) install --quiet --disable-pip-version-check --constraint .ci/constraints.txt torch torchvision
	$(BIN)/python -m pip --python $(RUNTIME) install --quiet --disable-pip-version-check --constraint .ci/constraints.txt ".$(RUN)" $(addprefix ./,$(PLUGINS)) "./plugins/vlmad-export[openvino]"

sbom: runtime  ## bill of materials of what is installed to run, in sbom.json (CycloneDX, by cyclonedx-py)
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml $(RUNTIME) | $(BIN)/python .ci/sbom.py > sbom.json

ALL = [open-clip,tokenizers,evaluation,training,tensorboard,distributed,dicom,tiff]
licences:  ## write docs/licences.md again (by pip-licenses)
	$(MAKE) runtime RUN="$(ALL)"
	$(BIN)/pip-licenses --python $(RUNTIME) --from=mixed --no-version --format=markdown --ignore-packages $(notdir $(PLUGINS)) vlmad-core > .runtime/licences.md
	$(BIN)/python .ci/licences.py < .runtime/licences.md

release:  ## set the version everywhere: make release VERSION=x.y.z
	$(BIN)/python .ci/release.py $(VERSION)

docs:  ## the docs as a site in .site/, which needs nothing but itself; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

pages:  ## write the pages again that are written from the code
	for script in checks cli concepts layers published reference tables training troubleshooting tutorial; do $(BIN)/python docs/build_$$script.py || exit 1; done

gallery:  ## run the commands of the pages on real images and show what they print and draw: make gallery DATA=folder
	$(BIN)/python docs/build_gallery.py --data $(DATA)

parity:  ## measure the differences from all recorded numbers again, in docs/results/parity.json; then `make pages`
	$(BIN)/python tests/parity/measure.py

benchmark:  ## speed against anomalib and against loops of the papers' cost structure, both sides in one run
	$(BIN)/python plugins/vlmad-winclip/benchmarks/winclip_vs_anomalib.py
	$(BIN)/python plugins/vlmad-april-gan/benchmarks/inference.py
	$(BIN)/python plugins/vlmad-learned-prompts/benchmarks/inference.py
	$(BIN)/python plugins/vlmad-learned-prompts/benchmarks/training.py
	$(BIN)/python plugins/vlmad-pocket/benchmarks/speed.py
	$(BIN)/python tests/benchmarks/aupro.py
	$(if $(SETS),$(BIN)/python tests/benchmarks/sharing.py --data $(firstword $(SETS)),@echo "no data set in DATA=$(DATA), so shared features are not timed")

gpu:  ## speed, share of the hardware and agreement with float32 of every recipe on this device, in gpu.jsonl; goes on after a stop
	$(BIN)/python tests/benchmarks/gpu.py --out $(or $(OUT),gpu.jsonl)

DATA ?= data
SETS = $(wildcard $(DATA)/*/)
accuracy:  ## accuracy on real pictures: sets in DATA, solar cells, textile; goes on after a stop
	$(PIP) elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4
	$(BIN)/python plugins/vlmad-pocket/benchmarks/accuracy.py --data $(DATA)

verdicts:  ## promised and realised false-alarm rates on the same real pictures, into the docs; scores are kept in .verdicts
	$(PIP) elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4
	$(BIN)/python plugins/vlmad-pocket/benchmarks/verdicts.py --data $(DATA)
	$(BIN)/python docs/build_tables.py
	$(BIN)/python docs/verdict_tables.py

line:  ## false alarms of a moving line with and without a filter over time, into the docs; scores are kept in .line
	$(BIN)/python plugins/vlmad-watch/benchmarks/temporal.py --data $(DATA)/piped
	$(BIN)/python docs/build_tables.py
	$(BIN)/python docs/line_tables.py

GENERATED = .generated
learned:  ## what training brings: generated pictures, five seeds, across domains; goes on after a stop
	$(PIP) elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4
	cd plugins/vlmad-pocket/build && $(CURDIR)/$(BIN)/python -m pictures --out $(CURDIR)/$(GENERATED)/train --count 640 --seed 900000000
	cd plugins/vlmad-pocket/build && $(CURDIR)/$(BIN)/python -m pictures --out $(CURDIR)/$(GENERATED)/held --count 300 --seed 950000000
	$(BIN)/python plugins/vlmad-pocket/benchmarks/learned.py --data $(DATA) --generated $(GENERATED)/train --held $(GENERATED)/held

clean:  ## remove what these commands made
	rm -rf .venv .runtime .demo .site .generated dist wheelhouse sbom.json .mypy_cache .ruff_cache .pytest_cache .coverage
