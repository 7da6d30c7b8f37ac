# Each target makes .venv by itself. PYTHON may name another interpreter, 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
MANIFESTS := pyproject.toml receipt_dynamo/pyproject.toml receipt_label/pyproject.toml
PACKAGES := -e ./receipt_dynamo -e './receipt_label[demo]'
# A process for each core; a file's tests share theirs, and its engines.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test frameworks performance lint types bench mutants crash-spread crash-matrix outage engines clean

demo: .venv/.demo  ## real SDK calls become rows while DynamoDB throttles and goes down
	$(BIN)/receipt-usage demo

test: .venv/.dev engines  ## the whole suite, under 6 minutes on 2 cores
	$(BIN)/pytest $(PARALLEL)

frameworks: .venv/.dev  ## real Celery and RQ, with redis-server
	$(PIP) --group frameworks
	$(BIN)/pytest -m frameworks tests/frameworks

performance: .venv/.dev  ## a coarse guard; the figures come from `make bench`
	$(BIN)/pytest tests/performance

lint: .venv/.dev  ## style, format, boundaries, dead code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/vulture

types: .venv/.dev  ## mypy --strict over both packages; mypy and pyright over the typing tests
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright

bench: .venv/.bench engines  ## side by side with peers, as ratios
	$(BIN)/python benchmarks/bench_stress.py
	$(BIN)/python benchmarks/bench_patterns.py
	$(BIN)/python benchmarks/bench_delivery.py
	$(BIN)/python benchmarks/bench_tracking.py
	PYTHONPATH=tests $(BIN)/python benchmarks/bench_reports.py
	PYTHONPATH=tests $(BIN)/python benchmarks/bench_queries.py

mutants: .venv/.mutants  ## break each line of the patterns: 90 % must make a test fail
	$(BIN)/python tests/mutants/run.py

crash-spread: .venv/.dev engines  ## 60 SIGKILLs, each step of delivery, each fault; an outage of 60 s
	$(BIN)/python tests/crashes/run.py spread

crash-matrix: .venv/.dev engines  ## SIGKILL at each step under each fault, and at 200 random moments
	$(BIN)/python tests/crashes/run.py matrix

outage: .venv/.dev engines  ## DynamoDB refuses connections for 60 s while records come in
	$(BIN)/python tests/crashes/run.py outage

engines: .venv/.dev
	$(BIN)/python tests/engines/install.py

clean:
	rm -rf .venv .cache

.venv/.demo: $(MANIFESTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) $(PACKAGES)
	touch $@

.venv/.dev: .venv/.demo
	$(PIP) --group dev
	touch $@

.venv/.bench: .venv/.dev
	$(PIP) --group bench
	touch $@

.venv/.mutants: .venv/.dev
	$(PIP) --group mutants
	touch $@
