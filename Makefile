# Two commands matter: `make accept` and `make test`. Both set up .venv from exact pins first.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: accept test pages check format mutation clean

accept: $(READY)  ## the acceptance suite with its verdict
	$(VENV)/bin/pytest tests/acceptance

test: $(READY)  ## unit tests and the acceptance suite
	$(VENV)/bin/pytest -n 2 -m "not throughput"
	$(VENV)/bin/pytest -m throughput

pages: $(READY)  ## a green, a red and a NO VERDICT evidence page in pages/, to look at
	$(VENV)/bin/python tools/make_pages.py

check: $(READY)  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff format .

mutation: $(READY)  ## does some test fail for each small change of the code that judges? half an hour; docs/mutation.md
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: mutmut==3.8.1
	rm -rf mutants
	$(VENV)/bin/python -m mutmut run
	$(VENV)/bin/python -m mutmut results

clean:  ## remove artifacts and caches, keep .venv
	rm -rf .artifacts .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -e '.[export,test,dev]' -c constraints.txt
	@# opencv-python needs libGL, which servers lack; the headless build is the same library without windows.
	$(VENV)/bin/python -c 'import cv2' 2>/dev/null || $(VENV)/bin/pip install --quiet --disable-pip-version-check \
	    --only-binary :all: --force-reinstall --no-deps opencv-python-headless -c constraints.txt
	touch $@
