# Two commands matter: `make accept` and `make test`. Both set up .venv from exact pins first.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
TOOLS := .tools
SAY := sh tools/say.sh
# Container images set it, and then every start compiles the whole project again: half a second each.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := install --quiet --disable-pip-version-check --no-compile --only-binary :all:

.PHONY: accept test quick pages check format mutation lock audit sbom clean

accept: $(READY)  ## the acceptance suite with its verdict
	@echo "running the acceptance suite: it builds ONNX and OMs first, and says every 15 seconds how far it is"
	@$(VENV)/bin/pytest tests/acceptance

test: $(READY)  ## unit tests and the acceptance suite
	$(VENV)/bin/pytest -n 2 --dist worksteal -m "not throughput"
	$(VENV)/bin/pytest -m throughput

QUICK := judge measure recipe artifacts ascend emulator options gateproof device test_rooms.py
quick: $(READY)  ## under a minute: the tests that start hardly any process, for while you work
	$(VENV)/bin/pytest -q -n 2 --dist worksteal $(addprefix tests/unit/,$(QUICK))

pages: $(READY)  ## a green, a red, a NO VERDICT and an INFRA evidence page in pages/, to look at
	$(VENV)/bin/python tools/make_pages.py

check: $(READY)  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff format .

MUTANTS ?=
mutation: $(READY)  ## does some test fail for each small change of the code that judges? hours, or MUTANTS='fcos_lib.judge.*'; docs/measurements/mutation.md
	$(VENV)/bin/pip $(INSTALL) mutmut==3.8.1
	rm -rf mutants
	$(VENV)/bin/python -m mutmut run $(MUTANTS)
	$(VENV)/bin/python -m mutmut results

lock: $(READY)  ## after constraints.txt changed: hashes of every wheel, who takes which, and the table of licences
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip $(INSTALL) uv==0.9.30
	$(VENV)/bin/python tools/lock.py --uv $(TOOLS)/bin/uv
	$(VENV)/bin/python tools/dependencies.py

audit: $(READY)  ## known vulnerabilities of what is installed; needs the network
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip $(INSTALL) pip-audit==2.10.1
	$(TOOLS)/bin/pip-audit --skip-editable --path $$(echo $(VENV)/lib/python*/site-packages)

sbom: $(READY)  ## sbom.json: what is installed, as CycloneDX
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip $(INSTALL) cyclonedx-bom==7.5.0
	$(TOOLS)/bin/cyclonedx-py environment $(VENV) --output-format JSON --output-file sbom.json

clean:  ## remove artifacts and caches, keep .venv
	rm -rf .artifacts .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt requirements.lock headless.lock
	@$(PYTHON) tools/supported.py
	@$(SAY) "installing 1 of 4: an environment in $(VENV)" $(PYTHON) -m venv $(VENV)
	@$(SAY) "installing 2 of 4: exact pins" $(VENV)/bin/pip $(INSTALL) --require-hashes --no-deps -r requirements.lock
	@# pip works on one core: another one compiles meanwhile what is there already.
	@$(VENV)/bin/python -W ignore -m compileall -qq $(VENV)/lib & \
	$(SAY) "installing 3 of 4: PyTorch and this project" $(VENV)/bin/pip $(INSTALL) -e '.[export,cluster,attest,test,dev]' -c constraints.txt; \
	    status=$$?; wait; exit $$status
	@# opencv-python needs libGL, which servers lack; the headless build is the same library without windows.
	$(VENV)/bin/python -c 'import cv2' 2>/dev/null || $(VENV)/bin/pip $(INSTALL) \
	    --require-hashes --no-deps --force-reinstall -r headless.lock
	@# pip would do it on one core; status 1 is of templates and tests of packages that are for another Python.
	@$(SAY) "installing 4 of 4: compiling on all cores" \
	    $(VENV)/bin/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@
