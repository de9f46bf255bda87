# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test faults check docs vllm eight-bit pythons format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: install
	$(BIN)/harness demo

test: install
	$(BIN)/python -m pytest

faults: install
	$(BIN)/python -m pytest -m faults

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/mkdocs build --strict

vllm: install
	$(BIN)/python .ci/vllm.py

# Beside the environment: transformers imports torchao wherever it is, which takes seconds and warns.
eight-bit: install
	test -d .eight-bit || $(BIN)/python -m pip install --quiet --no-deps -c constraints.txt --target .eight-bit torchao
	PYTHONPATH=.eight-bit $(BIN)/python -m pytest tests/training/test_eight_bit.py

pythons: install
	$(BIN)/python .ci/pythons.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pythons .eight-bit runs site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
