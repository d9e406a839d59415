# make run     set up, then the main job; pass flags with ARGS="--dataset fashion-mnist"
# make lint    set up, then lint and types, in seconds
# make test    set up, then lint, types and all fast tests; under 10 minutes
# make test-slow   set up, then faults, clusters, sweeps, the main job at full size, examples, adapting on Ray and in its
#                  benchmark, the image, and the documentation site
# make test-ray-fallbacks   set up, then what runs on Ray, without Ray's private names
# make test-ray-versions    what leans on Ray's insides, with the oldest and the newest Ray that pyproject.toml admits
# make test-oldest-versions   what needs no Ray, with the oldest version of each package that pyproject.toml admits
# make test-python-versions   what needs no Ray, with each Python that pyproject.toml admits (python3.10 ... on PATH)
# make scenario   set up, then a life from first photos to forgetting, as a person would use it; some 10 minutes
# make docs    set up, then the documentation site in docs/site/
# make setup   what all do first; quick when nothing changed

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
SLOW_RAY := tests/faults tests/cluster tests/tune tests/test_main_job.py tests/test_scenario.py \
  tests/test_adapting_on_ray.py
# What of them needs no Ray, and more that is slow.
SLOW_ALONE := tests/faults/test_adapting_cut.py tests/faults/test_bad_input.py tests/faults/test_hostile_folders.py \
  tests/test_adapt_benchmark.py tests/test_examples.py tests/kuberay/test_dockerfile_commands.py
SLOW := $(SLOW_RAY) $(SLOW_ALONE)
STAMP := .venv/.installed

# $(call beside,ALONE,RAY): what needs Ray runs one after another; the rest beside it, in the time that Ray leaves.
define beside
OMP_NUM_THREADS=1 nice -n 19 $(BIN)/pytest $(1) > .pytest-alone.log 2>&1 & alone=$$!; \
trap 'kill $$alone' INT TERM; $(BIN)/pytest $(2); rays=$$?; wait $$alone; others=$$?; \
cat .pytest-alone.log; exit $$((rays + others))
endef

.PHONY: run lint test test-slow test-ray-fallbacks test-ray-versions test-oldest-versions test-python-versions scenario docs setup clean

run: setup
	$(BIN)/python distributed/run.py $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(call beside,--numprocesses auto --dist loadfile --no-loadscope-reorder $(SLOW:%=--ignore=%) \
	  --ignore=tests/distributed -m 'not figures and not scenario and not site',tests/distributed)

test-slow: setup
	$(call beside,tests/test_docs.py $(SLOW_ALONE),$(SLOW_RAY) $(SLOW_ALONE:%=--ignore=%))

test-ray-fallbacks: setup
	MYGO_RAY_FALLBACKS=1 $(BIN)/pytest tests/distributed tests/tune/test_trial.py

test-ray-versions:
	PYTHON=$(PYTHON) tests/ray_versions.sh

test-oldest-versions:
	PYTHON=$(PYTHON) tests/oldest_versions.sh

test-python-versions:
	tests/python_versions.sh

scenario: setup
	$(BIN)/pytest -m scenario -s

docs: setup
	$(BIN)/python docs/build_site.py

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray,serve,dev]'
	touch $(STAMP)

clean:
	rm -rf .venv
