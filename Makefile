# The two commands that matter: `make demo` and `make test`. Each does all set-up itself and may be run again and again.
VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.sigmaos-setup
HOST_PYTHON := $(shell command -v python3.11 || command -v python3)
INPUT  ?=

# Two halves that run side by side (tools/rings.py), about as long as each other: the first waits more, for time-outs and
# leases; the second starts more instances.
SHARED := $(addprefix tests/integration/,named runner ux auth) tests/exercises
FIRST  := tests/unit tests/conformance tests/recipes tests/apps tests/faults tests/fuzz $(SHARED)
SECOND := tests/hosts tests/integration $(addprefix --ignore=,$(SHARED))

.PHONY: help demo test bench soak lint format lock protos faces docs notebooks clean setup

help:
	@echo "make demo [INPUT=DIR]  count words in S3 with procs on Ray, on this machine"
	@echo "make test              set up and run the tests"
	@echo "make bench             measure, beside the peers"
	@echo "make soak              long fault and scale runs"
	@echo "make lint              ruff and mypy"
	@echo "make lock              write constraints.txt anew, with the newest versions"
	@echo "make protos            regenerate sigmaos_ray/pb from protos/"
	@echo "make docs              the documents as a site, in build/site; links are checked"
	@echo "make notebooks         the tutorial in JupyterLab; sigmaos start first"
	@echo "make faces             regenerate the blocking faces from the asynchronous classes"
	@echo "make clean             remove what these commands made"

setup: $(STAMP)

# pip's own output only matters when it fails. Bytecode is made as pip makes it of what is not editable: every worker
# process imports us, and whoever sets PYTHONDONTWRITEBYTECODE would wait for the compiler in each.
$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a minute or two, once)"
	@test -n "$(HOST_PYTHON)" || { echo "python3.11 is needed: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(HOST_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed, this is $$($(HOST_PYTHON) --version)" >&2; exit 1; }
	@test -x $(PYTHON) || $(HOST_PYTHON) -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@sh tools/install-debian.sh
	@$(PYTHON) -m compileall -q sigmaos_ray kernel user tests
	@touch $(STAMP)

demo: setup
	@$(VENV)/bin/sigmaos demo $(if $(INPUT),--input "$(INPUT)")

test: setup
	@$(PYTHON) tools/rings.py --start $(FIRST) -- --start $(SECOND)

bench: setup
	@$(PYTHON) -m pytest -q -s tests/bench

soak: setup
	@$(PYTHON) -m pytest --start -s -m soak tests

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(PYTHON) tools/typecheck.py

format: setup
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

lock: setup
	@$(PYTHON) tools/lock.py

protos: setup
	@$(PYTHON) -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. --grpc_python_out=. \
		protos/sigmaos_ray/pb/*.proto
	@$(PYTHON) -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. protos/user/*/*.proto

faces: setup
	@$(PYTHON) tools/make_faces.py

docs: setup
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# JupyterLab is none of what the project needs to be worked on: it comes with the first call.
notebooks: setup
	@$(PYTHON) tools/make_notebooks.py
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'jupyterlab>=4,<5'
	@cd docs/tutorial && $(CURDIR)/$(VENV)/bin/jupyter lab

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
