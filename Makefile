# make run     set up, then the main job; pass flags with ARGS="--dataset fashion-mnist"
# make test    set up, then lint, types and the whole test suite
# make test-ray-fallbacks   set up, then what runs on Ray, without Ray's private names
# make test-ray-versions    what leans on Ray's insides, with the oldest and the newest Ray that pyproject.toml admits
# make scenario   set up, then a life from first photos to forgetting, as a person would use it; some 10 minutes
# make docs    set up, then the API page in docs/api/
# make setup   what all do first; quick when nothing changed

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
ALONE := tests/mygo tests/test_docs.py tests/test_examples.py tests/test_flags.py tests/test_layout.py \
	tests/test_terminal.py tests/test_wheel.py
TIMED := tests/test_main_job.py
STAMP := .venv/.installed

.PHONY: run test test-ray-fallbacks test-ray-versions scenario docs setup clean

run: setup
	$(BIN)/python distributed/run.py $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	# What needs Ray runs one after another; the rest beside it, in the time that Ray leaves; what has to be done in time
	# after both.
	nice -n 19 $(BIN)/pytest $(ALONE) > .pytest-alone.log 2>&1 & alone=$$!; trap 'kill $$alone' INT TERM; \
	$(BIN)/pytest tests $(ALONE:%=--ignore=%) $(TIMED:%=--ignore=%); rays=$$?; wait $$alone; others=$$?; \
	cat .pytest-alone.log; $(BIN)/pytest $(TIMED); timed=$$?; exit $$((rays + others + timed))

test-ray-fallbacks: setup
	MYGO_RAY_FALLBACKS=1 $(BIN)/pytest tests/distributed tests/tune/test_trial.py

test-ray-versions:
	PYTHON=$(PYTHON) tests/ray_versions.sh

scenario: setup
	$(BIN)/pytest -m scenario -s

docs: setup
	$(BIN)/python docs/build_api.py

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray,dev]'
	touch $(STAMP)

clean:
	rm -rf .venv
