# Two commands on a fresh machine: `make demo` and `make test`. Every target makes its own .venv.
# What is built: the wheel, compiled where there is a C compiler and Python's headers.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src -name '*.py' -o -name '*.pxd' -o -path '*/data/*' \( -name '*.json' -o -name '*.tsv' -o -name '*.txt' \))
RECORDINGS ?= recordings
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-compiled test-uncompiled test-kernels check bench bench-areas docs wheel clean
.DELETE_ON_ERROR:

demo: $(VENV)/built
	$(BIN)/mmtwin replay
	@mkdir -p out
	@$(BIN)/mmtwin draw memory x86_64-6.1 -o out/memory.svg
	@echo; echo 'out/memory.svg: every page of that machine at the end, by its use'

# The same suite twice, whatever the first run says: on the compiled modules, then on their .py
# files over the same bytes.
test: $(VENV)/built
	@failed=0; $(MAKE) -s test-compiled || failed=1; $(MAKE) -s test-uncompiled || failed=1; \
	  exit $$failed

test-compiled: $(VENV)/built
	@echo '== compiled =='
	$(PYTEST) -q -n 2 --dist loadgroup

test-uncompiled: $(VENV)/built
	@echo '== uncompiled =='
	MMTWIN_PURE=1 $(PYTEST) -q -n 2 --dist loadgroup

# Every recording of a folder against the figures that must hold: make test-kernels RECORDINGS=...
test-kernels: $(VENV)/built
	$(BIN)/python bench/kernels.py $(RECORDINGS)

check: $(VENV)/built wheel
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_house.py

wheel: $(VENV)/ready
	rm -rf dist
	$(BIN)/pip wheel -q --no-deps --no-build-isolation -w dist .
	@ls dist/*abi3*.whl

bench: $(VENV)/built
	$(BIN)/python bench/bench.py $(RECORDING)

# What find_vma() and mmap() cost with 10 to 10,000 areas; draws docs/areas.svg.
bench-areas: $(VENV)/built
	$(BIN)/python bench/areas.py

docs: $(VENV)/built
	$(BIN)/python docs/build.py

# The environment, from nothing.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'mmtwin: needs Python 3.11 or later: make PYTHON=python3.12 ...' >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo 'mmtwin: cannot make $(VENV): is python3-venv installed?' >&2; exit 2; }
	@echo 'mmtwin: installing what it needs into $(VENV)'
	$(BIN)/python .ci/requirements.py pyproject.toml > $(VENV)/requirements.txt
	$(BIN)/pip install -q -r $(VENV)/requirements.txt
	@touch $@

# mmtwin itself. The .so files go into the environment and never into src/.
$(VENV)/built: $(VENV)/ready setup.py README.md $(SOURCES)
	@echo 'mmtwin: building it, a few minutes where it is compiled'
	@find build/lib* -name '*.py' -delete 2>/dev/null || true
	$(BIN)/pip install -q --no-deps --no-build-isolation --force-reinstall .
	@cd $(VENV) && bin/python -c 'import mmtwin.kernel.mm as m, sys; \
	  m.__file__.endswith(".py") and print("mmtwin: no C compiler or no Python headers here:", \
	  "it runs uncompiled, slowly", file=sys.stderr)'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.so' -delete
