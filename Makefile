# Two commands on a fresh machine: `make demo` and `make test`. Each sets up all it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := $(shell command -v uv 2>/dev/null)

.PHONY: demo test check slow bench clean

$(READY): pyproject.toml constraints.txt
ifneq ($(UV),)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
endif
	touch $@

demo: $(READY)  ## adapt the packaged backbone to scanned digits, then predict some
	$(BIN)/python examples/digits.py

test: $(READY)  ## the suite without the long ones; REGRAFT_PRECISION=f32|bf16 fixes the precision
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(READY)  ## the long ones alone
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

check: $(READY)  ## lint, format, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo runs build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
