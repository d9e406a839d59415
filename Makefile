# make run     set up, then the main job; pass flags with ARGS="--dataset fashion-mnist"
# make test    set up, then lint, types and the whole test suite
# make scenario   set up, then a life from first photos to forgetting, as a person would use it; some 15 minutes
# make docs    set up, then the API page in docs/api/
# make setup   what all do first; quick when nothing changed

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test scenario docs setup clean

run: setup
	$(BIN)/python distributed/run.py $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

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
