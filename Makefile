# make demo    first report of a fresh clone      make lint    style, types, import rules
# make test    the whole test suite               make bench   speed of the engines on this computer
# make quick   both engines agree, and the tests of what changed since this branch left main
# make approve take how the report's page looks for right, and leave pictures of it in out/looks
# make clean   remove what these commands made    make lock    choose and pin the newest versions
# make docs    the documents as a site, in docs/_build/html, without a warning and with every link checked
# make test-reference   tests of reference/ with its extras: Torch, and NVIDIA's compiler (300 MB; no GPU needed)
#
# Everything is installed into .venv and .venv-reference. Outside this folder only caches grow: that of pip, and
# ~/.cache/attnflow with the compiled engine.

.PHONY: demo test quick approve test-reference lint bench docs lock clean
.DELETE_ON_ERROR:
.SUFFIXES:

# Python to make .venv with: the first of these that is new enough
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
# tests run in this many processes (xdist)
WORKERS ?= logical
# further arguments of pytest, for example PYTEST="-m slow" or PYTEST="tests/studies -x"
PYTEST ?=

bin := .venv/bin
venv := $(bin)/python
pip = $(1)/bin/python -m pip --disable-pip-version-check --quiet --quiet
# A dot every few seconds says that what stands between the two works, as long as the shell that waits for it is there.
dots = { while sleep 3 >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do printf .; done & } ; dots=$$!
dots_end = code=$$?; kill $$dots 2>/dev/null; echo; exit $$code
# The build tools are pinned like all else, hence no build isolation.
install = $(dots); $(call pip,$(1)) install -c constraints.txt hatchling editables \
  && $(call pip,$(1)) install -c constraints.txt --no-build-isolation --editable '.$(2)'; $(dots_end)
# not written where it is used: a comma separates the arguments of a call
reference_extras := [torch,nvrtc,dev]
lock_torch := torch==2.13.0

demo: .venv/installed-core
	mkdir -p out && rm -f out/demo.sqlite out/demo.sqlite-* out/demo-streaming.sqlite out/demo-streaming.sqlite-*
	$(bin)/attnflow sweep studies/configs/chips-prefill.yaml --store out/demo.sqlite
	$(bin)/attnflow report out/demo.sqlite --output out/demo.html
	$(bin)/attnflow sweep studies/configs/llama3-8b.yaml --store out/demo-streaming.sqlite
	$(bin)/attnflow sweep studies/configs/minilm-capture.yaml --store out/demo-streaming.sqlite
	$(bin)/attnflow report out/demo-streaming.sqlite --output out/demo-streaming.html --title "Streaming attention: demo"
	@echo "open these in a browser: out/demo.html (Llama-3-8B on ten chips), out/demo-streaming.html (its FIFOs, cycle by cycle)"

test: .venv/installed-dev
	$(venv) -m pytest -n $(WORKERS) --dist worksteal -rfEs $(PYTEST)

quick: .venv/installed-dev
	$(venv) -m pytest -n $(WORKERS) --dist worksteal $$($(venv) .ci/changed_tests) $(PYTEST)

approve: .venv/installed-dev
	ATTNFLOW_APPROVE=1 $(venv) -m pytest -n0 -q tests/browser/test_looks.py -k approved

test-reference: .venv-reference/installed
	.venv-reference/bin/python -m pytest -n $(WORKERS) --dist worksteal -rfEs tests/reference $(PYTEST)

lint: .venv/installed-dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

bench: .venv/installed-core
	$(bin)/attnflow bench

docs: .venv-docs/installed
	rm -rf docs/generated docs/_build
	.venv-docs/bin/python -m sphinx -b html -q -W --keep-going docs docs/_build/html
	.venv-docs/bin/python docs/check_links.py docs/_build/html

clean:
	rm -rf .venv .venv-reference .venv-docs docs/generated docs/_build out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Every extra resolved together, on the oldest Python that is supported, so that one file serves all installs.
lock: .venv/installed-dev
	{ sed -n '/^#/p' constraints.txt; \
	  $(venv) -m pip --disable-pip-version-check install --dry-run --ignore-installed --quiet --report - \
	    '.[torch,nvrtc,gpu,gpu-cuda12,cluster,notebooks,docs,dev]' $(lock_torch) \
	  | $(venv) -c 'import json, sys; found = [p["metadata"] for p in json.load(sys.stdin)["install"]]; \
print(*sorted(p["name"].lower() + "==" + p["version"].split("+")[0] for p in found if p["name"] != "attnflow"), sep="\n")'; \
	} > constraints.new
	mv constraints.new constraints.txt

.venv/installed-core: pyproject.toml constraints.txt .venv/bin/python
	@echo "installing attnflow and what it needs into .venv (once)"
	@$(call install,.venv)
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt .venv/bin/python
	@echo "installing attnflow and its tools for development into .venv (once)"
	@$(call install,.venv,[dev])
	@touch .venv/installed-core $@

.venv-reference/installed: pyproject.toml constraints.txt .venv-reference/bin/python
	@echo "installing attnflow, Torch and NVRTC into .venv-reference (once)"
	@$(call install,.venv-reference,$(reference_extras))
	@touch $@

.venv-docs/installed: pyproject.toml constraints.txt .venv-docs/bin/python
	@echo "installing attnflow and Sphinx into .venv-docs (once)"
	@$(call install,.venv-docs,[docs])
	@touch $@

%/bin/python:
	@for python in $(PYTHON); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $* with $$($$python --version)"; \
	    $(dots); $$python -m venv $* || { rm -rf $*; false; }; $(dots_end); \
	  fi; \
	done; \
	echo "attnflow needs Python 3.11 or newer; none of these is: $(PYTHON)" >&2; \
	echo "install one and name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
