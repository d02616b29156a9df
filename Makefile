# The two commands of the README. Each makes the environment it needs, in .venv, and runs.
#
#   make demo    train on real data with no classification layer; report in runs/demo/report.html
#   make test    lint, types, import directions, and the tests
#
# And: make docs, the documentation as a site, in site/.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# On Linux, PyPI's torch brings CUDA: set e.g. PIP_EXTRA_INDEX_URL to an index with CPU builds to avoid that.

.PHONY: demo test lint docs clean

demo: .venv/demo
	$(BIN)/rootspace demo --overwrite

test: .venv/dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: .venv/dev
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/dev
	$(BIN)/python -m mkdocs build --strict

# One stamp for each set of packages: made anew when what is required changes.
.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[train,glyphs,report,fonts]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[dev,fonts]'
	$(PIP) --no-deps timm torchvision  # PyPI's torchvision asks for a CUDA build of torch
	@touch $@

clean:
	rm -rf .venv runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis site
