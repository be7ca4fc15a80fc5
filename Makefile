# Everything runs in .venv, which the targets make themselves. Each target can be interrupted and given again.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 0
export REPLIB_ROOT := $(CURDIR)

.PHONY: help install reproduce reproduce-all evidence book test test-slow lint benchmarks clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): constraints.txt pyproject.toml
	@echo "== Installing into $(VENV): a few minutes and about 6 GB the first time"
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 or newer, or call make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; call make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[book,attacks,workflow,test]'
	@touch $@

install: $(STAMP)  ## make .venv with everything pinned

reproduce: $(STAMP)  ## train the flagship exhibits (seed 0) from scratch, run all notebooks, build the book, compare (10 to 25 minutes on 2 cores)
	@echo "== 1/4 training the flagship exhibits, seed 0"
	$(BIN)/replib run $(FLAGSHIPS) -p laptop --seeds 0 -j $(WORKERS)
	@echo "== 2/4 executing the notebooks"
	$(BIN)/replib render -p laptop -j $(WORKERS)
	@echo "== 3/4 building the book"
	$(BIN)/replib book -p laptop
	@echo "== 4/4 comparing with the published evidence"
	$(BIN)/replib verify $(FLAGSHIPS) -p laptop --seeds 0
	@echo "== the book: $(CURDIR)/build/site/index.html"

FLAGSHIPS := sparsity_winning_twice/table_1 achieving_robustness_via_sparsity/table_3 double_win_lottery_tickets/figure_3 \
             adversarial_winning_tickets/table_1

reproduce-all: $(STAMP)  ## as reproduce, for every exhibit (1.9 hours on 2 cores with AVX-512, 3 with AVX2)
	$(BIN)/replib run -p laptop --seeds 0 -j $(WORKERS)
	$(BIN)/replib render -p laptop -j $(WORKERS)
	$(BIN)/replib book -p laptop
	$(BIN)/replib verify -p laptop --seeds 0

evidence: $(STAMP)  ## all declared seeds of every exhibit (hours), then publish what is complete
	$(BIN)/replib run -p laptop -j $(WORKERS)
	$(BIN)/replib publish -p laptop

book: $(STAMP)  ## build the book from the published evidence, without training
	$(BIN)/replib render -p laptop -j $(WORKERS)
	$(BIN)/replib book -p laptop
	@echo "== the book: $(CURDIR)/build/site/index.html"

test: $(STAMP)  ## the tests of every change, notebooks included
	@echo "== tests"
	$(BIN)/python -m pytest -q -m 'not slow and not gpu' -n 2 --dist loadscope
	@echo "== every notebook, every cell, at the smallest scale"
	$(BIN)/replib run -p smoke -j 2
	REPLIB_PROFILE=smoke REPLIB_OUT=$(CURDIR)/build/nbval $(BIN)/python -m pytest -q --nbval-lax -n 2 --dist loadscope notebooks

test-slow: $(STAMP)  ## thirty kills, a fuzz of specs, real data where present
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check replib tests benchmarks
	$(BIN)/ruff check --select F notebooks
	$(BIN)/ruff format --check replib tests benchmarks

benchmarks: $(STAMP)  ## measured ratios: training step, cached read, checkpoints, workers
	$(BIN)/python benchmarks/speed.py

clean:  ## remove build/ (not .venv, not published results)
	rm -rf build
