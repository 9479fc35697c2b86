# From a fresh clone: `make demo`, `make bench` or `make test`. All first set up .venv, once.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo bench test lint docs notebooks format clean

demo: .venv/.demo
	$(BIN)/metabo demo

# A part of the optimisation benchmark, to runs/bench/report.html. It goes on where it was stopped.
BENCH := logistic surfaces hpobench hpolib nasbench201 svm_digits
bench: .venv/.bench
	status=0; for name in $(BENCH); do \
		$(BIN)/python experiments/bo_$$name.py --quick --out runs/bench/$$name \
			--work runs/bench/$$name/work || status=1; \
	done; \
	$(BIN)/metabo results $(addprefix runs/bench/,$(BENCH)) -o runs/bench/report.html && exit $$status

test: lint docs
	$(BIN)/python -m pytest -n auto

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without a network, and warnings are errors.
docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Executed, with their outputs, in runs/notebooks/.
notebooks: .venv/.notebooks
	$(BIN)/python experiments/parts/build_notebooks.py

# A stamp per set of optional packages: installing is repeated when what is wanted has changed.
INSTALLED := pyproject.toml constraints.txt metabo/meta_training/fused_loop.c metabo/mixture/e_step.c
.venv/.demo .venv/.bench .venv/.notebooks .venv/.dev: .venv/.%: $(INSTALLED)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[$*]"
	touch $@

clean:
	rm -rf .venv runs build metabo.egg-info metabo/*/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
