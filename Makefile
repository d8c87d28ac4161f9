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
BENCHMARKS := $(notdir $(basename $(wildcard benchmarks/speed/*.py)))

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint types docs bench clean

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

test: venv ## run the tests that take seconds
	$(BIN)/python -m pytest

test-slow: venv ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: venv ## check the style
	$(BIN)/ruff check .

types: venv ## check the types of src
	$(BIN)/mypy

docs: venv ## build the documentation into site/; a broken link or an undocumented public name fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

bench: venv ## time the networks; with VOIGT_DATA (a folder of data) every script in benchmarks/speed
	@set -e; for name in $(if $(VOIGT_DATA),$(BENCHMARKS),equivar); do \
		printf '\n$$ python -m benchmarks.speed.%s\n' "$$name"; $(BIN)/python -m benchmarks.speed.$$name; \
	done

clean: ## remove what the other targets made, except .venv and runs
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
