# Everything sets itself up: `make run` on a bare machine needs Python 3.11+ and git, nothing else.
PORT ?= 8501
PY = .venv/bin/python
# More than four would start more database servers than they save time.
PYTEST = $(PY) -m pytest --numprocesses logical --maxprocesses 4 --dist loadgroup
# Tests start some hundred Pythons, which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check lint format bench soak audit screenshots lock dev
.NOTPARALLEL:

help: ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 20

run: ## serve the dashboard on http://localhost:8501 (PORT=… for another port)
	@PORT='$(PORT)' bin/run

test: dev ## run all tests: unit, integration, browser (ARGS=… for pytest, --whole for all rounds of each)
	@$(PY) -m tests.services
	@$(PYTEST) $(ARGS)

check: lint ## lint, types and the fast tests
	@$(PYTEST) -m "not slow" tests/unit $(ARGS)

lint: dev
	@$(PY) -m ruff format --check --output-format concise . || { echo "Not formatted. Run: make format" >&2; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@$(PY) -m bandit --quiet --recursive --configfile pyproject.toml lib pages app.py

format: dev ## format the code and mend what ruff can mend
	@$(PY) -m ruff format --quiet .
	@$(PY) -m ruff check --quiet --fix .

bench: dev ## print the benchmark tables
	@$(PY) -m bench $(ARGS)

soak: dev ## workers that are interrupted and killed on databases that crash, for minutes (ARGS="--seconds 600")
	@$(PY) -m tests.soak $(ARGS)

audit: dev ## look for known vulnerabilities in the pinned packages (needs the network)
	@$(PY) -m pip_audit --strict --requirement requirements.txt --no-deps --disable-pip --progress-spinner off

screenshots: dev ## draw every page in a real browser into screenshots/
	@$(PY) -m tests.services
	@$(PY) -m tests.browser.screenshots $(ARGS)

lock: dev ## pin requirements*.txt anew from pyproject.toml, for every Python from 3.11 on
	@$(PY) -m pip --disable-pip-version-check install --quiet uv
	@bin/lock $(ARGS)

dev:
	@bin/setup dev
