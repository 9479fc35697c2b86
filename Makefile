# From a fresh clone: `make demo` or `make test`. Both first set up .venv, once.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint format notebooks clean

demo: .venv/.demo
	$(BIN)/metabo demo

test: lint
	$(BIN)/python -m pytest -n auto

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Executed, with their outputs, in runs/notebooks/.
notebooks: .venv/.notebooks
	$(BIN)/python experiments/build_notebooks.py

# A stamp per set of optional packages: installing is repeated when what is wanted has changed.
.venv/.demo .venv/.dev .venv/.notebooks: .venv/.%: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[$*]"
	touch $@

clean:
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache .hypothesis
