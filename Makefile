# make demo: sets up a virtual environment and runs the main job on the embedded database.
# make test: sets it up with the test tools and runs the tests of every change, in less than five minutes.
# make test-slow: runs the rest: Monte Carlo statistics, bad input, kills, long jobs.
# make transcripts: writes what the commands say in users' jobs again; read the difference before you commit it.
# make docs: runs the notebooks and makes the site of the documentation in build/docs; a warning is an error.
# make data: fetches the real darks of program 13961 and the exposures of program 13655 from MAST.
# make torture: kills it, fills its disks and lets many write at once, for up to 20 minutes, and prints what came of it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= mast
SLOW ?= slow
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 10

# Each of the hundreds of commands that the tests start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo docs test test-slow transcripts data torture lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'sbcdark needs Python 3.11 or later')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group test
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group lint
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-test
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group docs
	touch $@

demo: $(VENV)/.installed
	$(BIN)/sbcdark demo -o demo

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow" $(PYTEST_ARGUMENTS)

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -E -b html docs build/docs

# Axe-core checks the accessibility of the pages in a browser. Where npm is missing, or fetches nothing, that test is skipped.
$(VENV)/axe.min.js: | $(VENV)/.installed-test
	-cd $(VENV) && npm pack --silent axe-core@4.14.1 && tar -xzf axe-core-4.14.1.tgz --strip-components 1 package/axe.min.js
	rm -f $(VENV)/axe-core-4.14.1.tgz

test-slow: $(VENV)/.installed-test $(VENV)/axe.min.js
	$(PYTEST) -m "$(SLOW)" $(PYTEST_ARGUMENTS)

transcripts: $(VENV)/.installed-test
	SBCDARK_WRITE_TRANSCRIPTS=1 $(BIN)/python -m pytest -q tests/jobs

data: $(VENV)/.installed
	mkdir -p $(DATA)
	$(BIN)/sbcdark --db sqlite:///$(DATA)/catalog.db fetch --program 13961 --darks -o $(DATA)/13961
	$(BIN)/sbcdark --db sqlite:///$(DATA)/catalog.db fetch --program 13655 --science -o $(DATA)/13655

torture: $(VENV)/.installed-test
	PYTHONPATH=tests $(BIN)/python -m torture $(TORTURE_ARGUMENTS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.dev $(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo build dist *.egg-info
