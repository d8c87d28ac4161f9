# `make demo` and `make test` need Python 3.11 or later, make and a pip index; they set up .venv on first use.
#
#   TORCH        what to install as torch
#   TORCH_INDEX  an index searched besides pip's own. Where pip would fetch the large CUDA build of torch:
#                make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#   PYTHON       the interpreter that makes .venv; by default the first that is recent enough

TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# One thread: small tensors gain nothing from more, and results stay the same on every machine.
export OMP_NUM_THREADS ?= 1

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$python; break; fi; done)
endif

BIN := .venv/bin
STAMP := .venv/.stamp
DEMO := examples/MgO.vasp examples/BaTiO3.vasp examples/SiO2-quartz.cif
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
FUZZ_INPUTS ?= 50000
FUZZ_SEED ?= 0
FUZZ_OUT ?= runs/fuzz
LOWEST := .venv-lowest/bin
VERSIONS := 3.12 3.13
# What tests need, and tests of every room that depend on other packages.
TOOLS := "click>=8.2" "e3nn>=0.6,<0.7" hatchling pymatgen-core pytest pytest-timeout
OLD_WARNINGS := -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning
REPRESENTATIVE := tests/structures tests/graphs tests/tensors tests/models/test_checkpoint.py tests/models/test_equivar.py \
	tests/prediction tests/cli/test_predict.py tests/cli/test_phonons.py tests/response/phonons tests/writers \
	tests/training/test_run.py tests/screening/store tests/screening/query
BENCHMARKS := $(notdir $(basename $(wildcard benchmarks/speed/*.py)))

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow fuzz lowest matrix lint types docs page serve bench weights weights-status clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## set up .venv with the package, what training needs and the tools

# torch comes first and is named again with the package, so that no dependency can replace the pinned build.
$(STAMP): pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Voigt needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)" --editable ".[train,dev,docs]"
	@touch $@

demo: venv ## predict three example crystals and write their BORN files to runs/demo
	@mkdir -p runs/demo
	@set -e; for input in $(DEMO); do \
		born=runs/demo/$$(basename "$${input%.*}").BORN; \
		printf '\n$$ voigt predict %s --born %s\n' "$$input" "$$born"; \
		$(BIN)/voigt predict "$$input" --born "$$born"; \
	done
	@printf '\nThe BORN files in runs/demo are ready for phonopy. Other structures: examples/README.md\n'

# Tests of one file stay in one process, which makes its fixtures once.
test: venv ## run the tests that take seconds, in JOBS processes
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist load)

test-slow: venv ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

fuzz: venv ## read and use FUZZ_INPUTS spoiled files (an hour on a core); goes on where it was stopped
	$(BIN)/python -m tests.fuzz --inputs $(FUZZ_INPUTS) --seed $(FUZZ_SEED) --out $(FUZZ_OUT)

# torch is the pinned one: older releases have no small build for Linux on PyPI. Old releases warn of what
# newer ones do, and ASE before 3.29 itself cannot read one of the POSCARs that we compare.
lowest: ## test with the lowest versions that pyproject.toml allows, in .venv-lowest
	@test -x $(LOWEST)/python || $(or $(PYTHON),false) -m venv .venv-lowest
	$(LOWEST)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)" $$(.ci/lowest) $(TOOLS)
	$(LOWEST)/pip install --quiet --no-deps --editable .
	$(LOWEST)/python -m pytest -q $(OLD_WARNINGS) -k "not what_ase_reads_too" $(REPRESENTATIVE)

# An interpreter that is not there is named and passed over.
matrix: ## test on Python 3.12 and 3.13, in .venv-VERSION, where they are at hand
	@set -e; for version in $(VERSIONS); do \
		python=$$(ls -d $$HOME/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -1); \
		python=$${python:-$$(command -v python$$version || true)}; \
		if ! "$${python:-false}" -c '' 2>/dev/null; then echo "skipped: no Python $$version"; continue; fi; \
		printf '\n===== Python %s =====\n' "$$version"; \
		test -x .venv-$$version/bin/python || "$$python" -m venv .venv-$$version; \
		.venv-$$version/bin/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)" --editable ".[train]" $(TOOLS); \
		.venv-$$version/bin/python -m pytest -q -p no:cacheprovider $(REPRESENTATIVE); \
	done

lint: venv ## check the style
	$(BIN)/ruff check .

types: venv ## check the types of src
	$(BIN)/mypy

docs: venv ## build the documentation into site/; a broken link or an undocumented public name fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

serve: venv ## open the page of Voigt and its HTTP API on this machine, at PORT (8000)
	$(BIN)/voigt serve $(if $(PORT),--port $(PORT))

page: ## build the page of `voigt serve` from frontend/ into src/voigt/viewer/static (takes node and npm), and test it
	cd frontend && npm ci --no-audit --no-fund && npm test && npm run build

bench: venv ## time the networks; with VOIGT_DATA (a folder of data) every script in benchmarks/speed
	@set -e; for name in $(if $(VOIGT_DATA),$(BENCHMARKS),equivar); do \
		printf '\n$$ python -m benchmarks.speed.%s\n' "$$name"; $(BIN)/python -m benchmarks.speed.$$name; \
	done

weights: venv ## train what ships, one model after another, for days if need be; start it again after any stop
	$(BIN)/python -m voigt.training.queue run $(if $(DEVICE),--device $(DEVICE)) $(MODELS)

weights-status: venv ## say where that training stands
	@$(BIN)/python -m voigt.training.queue status $(MODELS)

clean: ## remove what the other targets made, except .venv and runs
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
