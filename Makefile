# The commands of the house. Each works alone in a fresh clone and is quick the second time.
#
#   make demo        install, then simulate, train, predict and draw in ./demo-run
#   make test        install, then lint and the test suite
#   make test-slow   the long proofs: kills, cold compiles, two processes
#   make bench       the tables beside the peers, in an environment of their own
#   make test-gpu    the kernels on a GPU; nothing is installed, PYTHON has torch with CUDA, triton and pytest
#   make bench-gpu   likewise the goals and rooflines on a GPU, written to $OUT or docs/benchmarks
#   make lint        ruff, mypy, import contracts
#   make clean       remove what the other commands made
#
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer), PYTEST="..." adds options to pytest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST ?=
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
# Twice quiet: errors are shown, warnings are not.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
RUN_PYTEST = OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow bench test-gpu bench-gpu lint clean

help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)

# torch first and alone: nothing that comes later may bring another one.
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "sciops needs python 3.11 or newer, found '$(PYTHON)': set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing the pinned dependencies into $(VENV) (minutes the first time)"
	@$(PIP) install -c constraints.txt "setuptools>=77" torch==2.13.0
	@$(PIP) install -c constraints.txt --no-build-isolation -e ".[test]"
	@touch $@

demo: $(STAMP)
	@MPLBACKEND=agg $(BIN)/python examples/demo.py

test: lint
	$(RUN_PYTEST) -n $(JOBS) --doctest-modules -m "not slow and not benchmark" \
		--cov --cov-report=term:skip-covered $(PYTEST) sciops tests

test-slow: $(STAMP)
	$(RUN_PYTEST) -m slow $(PYTEST) tests

# The peers live in an environment of their own: what they pull in never reaches the one that is tested.
bench: $(BENCH_STAMP)
	OMP_NUM_THREADS=1 $(BENCH)/bin/python -m pytest -m benchmark -s $(PYTEST) tests

$(BENCH_STAMP): pyproject.toml constraints.txt
	@test -x $(BENCH)/bin/python || "$(PYTHON)" -m venv $(BENCH)
	@echo "installing sciops and the peers into $(BENCH)"
	@$(BENCH)/bin/python -m pip --quiet --quiet install -c constraints.txt "setuptools>=77" torch==2.13.0
	@$(BENCH)/bin/python -m pip --quiet --quiet install -c constraints.txt --no-build-isolation -e ".[test,bench]"
	@echo "compiling AMGCL for this processor (a minute)"
	@CPLUS_INCLUDE_PATH="$$($(BENCH)/bin/python -c 'import boost_headers; print(boost_headers.get_include())')" \
		CXXFLAGS="-O3 -march=native" CFLAGS="-O3 -march=native" $(BENCH)/bin/python -m pip --quiet --quiet install \
		-c constraints.txt --no-build-isolation pyamgcl > $(BENCH)/amgcl.log 2>&1 || \
		echo "AMGCL did not compile, see $(BENCH)/amgcl.log: the tables with it are skipped" >&2
	@touch $@

# A machine with a GPU brings its own torch: these take the interpreter as it is, and the tree as it lies here.
test-gpu:
	"$(PYTHON)" -m pytest -rs -m "not benchmark" $(PYTEST) tests/gpu

bench-gpu:
	"$(PYTHON)" -m pytest -rs -s --ignore tests/gpu/test_conformance.py $(PYTEST) tests/gpu

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(BENCH) build dist *.egg-info demo-run .coverage htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find sciops tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
