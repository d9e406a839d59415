# make run     set up, then the main job; pass flags with ARGS="--dataset fashion-mnist"
# make test    set up, then lint, types and the whole test suite
# make scenario   set up, then a life from first photos to forgetting, as a person would use it; some 10 minutes
# make docs    set up, then the documentation site in docs/site/
# make setup   what all do first; quick when nothing changed

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
ALONE := tests/mygo tests/test_docs.py tests/test_examples.py tests/test_flags.py tests/test_layout.py \
	tests/test_terminal.py tests/test_wheel.py
TIMED := tests/test_main_job.py
STAMP := .venv/.installed

.PHONY: run test scenario docs setup clean

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

scenario: setup
	$(BIN)/pytest -m scenario -s

docs: setup
	$(BIN)/python docs/build_site.py

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray,dev]'
	touch $(STAMP)

clean:
	rm -rf .venv
