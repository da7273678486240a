# From a bare machine (python3 >= 3.10 and make) to a mesh, or to green tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
export OMP_WAIT_POLICY ?= passive

.PHONY: run test nightly bench lint clean

run: $(STAMP)
	$(BIN)/python launch.py

test: $(STAMP)  # a process for each core, with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

nightly: $(STAMP)  # the slow ones, and those that need an accelerator or weights, too
	$(BIN)/python -m pytest -m ""

bench: $(VENV)/peers  # times, ours against others'; `make bench only=hashgrid` for one table
	$(BIN)/python tests/bench/run.py $(only)

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf $(VENV)

# torch first and alone: its exact pin is what picks the build for this machine
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/peers: $(STAMP)
	$(BIN)/python tests/bench/peers.py
	touch $@
