# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run in as many processes, each with one thread; three keep two cores busy.
WORKERS ?= 3
DEVELOP := $(VENV)/.developed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: install demo test test-fast faults check versions docs vllm eight-bit pythons format clean

# What training, evaluating and reporting need.
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt -e '.[train,frames,alpaca-eval,report]'
	touch $(STAMP)

# What checks and tests need besides: linters, Ray, TRL, lm-eval, trackers, notebooks.
$(DEVELOP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,frames,alpaca-eval,report,dev]'
	touch $(DEVELOP)

demo: install
	$(BIN)/harness demo

test: $(DEVELOP)
	$(PYTEST)

test-fast: $(DEVELOP)
	$(PYTEST) -m 'not slow and not faults'

faults: $(DEVELOP)
	$(BIN)/python -m pytest -m faults

check: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# After a change of a component's code: `make versions`, or `make versions SAME="INPO SoftINPO"` where
# their results are as before.
versions: $(DEVELOP)
	$(BIN)/python docs/component_versions.py $(if $(SAME),--same-result $(SAME))

docs: $(DEVELOP)
	$(BIN)/mkdocs build --strict

vllm: install
	$(BIN)/python .ci/vllm.py

# Beside the environment: transformers imports torchao wherever it is, which takes seconds and warns.
eight-bit: $(DEVELOP)
	test -d .eight-bit || $(BIN)/python -m pip install --quiet --no-deps -c constraints.txt --target .eight-bit torchao
	PYTHONPATH=.eight-bit $(BIN)/python -m pytest tests/training/test_optimisers.py

pythons: install
	$(BIN)/python .ci/pythons.py

format: $(DEVELOP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pythons .eight-bit runs site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
