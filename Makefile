# Two commands on a fresh machine: `make demo` and `make test`. Each builds the environment it needs.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
PIP = -m pip install --quiet --disable-pip-version-check
RUN = .venv
DEV = .venv-test

.PHONY: help demo test check fix study tiny fuzz bench pictures bundle lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    paint phantom slides, diagnose them, write demo/index.html (no torch, no GPU)'
	@echo 'make test    all checks: format, lint, types, floors, tests (with the training extra)'
	@echo 'make study   the whole study on phantom slides, small, with its report in phantom-study (with the training extra)'
	@echo 'make tiny    the same as small as it gets, as CI runs it, in phantom-study-tiny'
	@echo 'make fuzz    open damaged slides of every format for SECONDS (default 600), each in a process that may die of it'
	@echo 'make fix     format and mend what can be mended'
	@echo 'make bench   speed and memory beside plain OpenSlide, written to benchmarks/results.md'
	@echo 'make bundle  train the phantom bundle anew (about a quarter of an hour on two cores)'
	@echo 'make lock    resolve requirements/*.txt anew (needs uv)'
	@echo 'make clean   remove environments, caches and the demo'

demo: $(RUN)/installed
	$(RUN)/bin/sarcoscope demo --out demo

test: $(DEV)/installed
	$(DEV)/bin/ruff check
	$(DEV)/bin/ruff format --check
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(DEV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: test

fix: $(DEV)/installed
	$(DEV)/bin/ruff check --fix
	$(DEV)/bin/ruff format

# Synthetic slides of no clinical meaning; run again to go on.
study: $(DEV)/installed
	$(DEV)/bin/sarcoscope study phantom phantom-study

tiny: $(DEV)/installed
	rm -rf phantom-study-tiny
	$(DEV)/bin/sarcoscope study phantom phantom-study-tiny --tiny

SECONDS ?= 600
fuzz: $(DEV)/installed
	$(DEV)/bin/python -m tests.fuzz.run --seconds $(SECONDS)

bench: $(DEV)/installed .venv-histolab/installed .venv-tiatoolbox/installed
	$(DEV)/bin/python benchmarks/direct.py
	$(DEV)/bin/python benchmarks/index_open.py
	$(DEV)/bin/python benchmarks/convert.py
	$(DEV)/bin/python benchmarks/pipeline.py
	$(DEV)/bin/python benchmarks/phantom_speed.py
	$(DEV)/bin/python benchmarks/demo.py
	$(DEV)/bin/python benchmarks/sharpness.py
	$(DEV)/bin/python benchmarks/quality.py
	$(DEV)/bin/python benchmarks/nuclei.py
	$(DEV)/bin/python benchmarks/leakage.py
	$(DEV)/bin/python benchmarks/tile_parts.py
	$(DEV)/bin/python benchmarks/tile.py
	$(DEV)/bin/python benchmarks/screening.py
	$(DEV)/bin/python benchmarks/train_speed.py
	$(DEV)/bin/python benchmarks/real_tiles.py
	$(DEV)/bin/python benchmarks/simulated.py
	$(DEV)/bin/python benchmarks/study.py
	$(DEV)/bin/python benchmarks/study.py --tiny

# The docs' pictures of synthetic phantoms.
pictures: $(DEV)/installed
	$(DEV)/bin/python benchmarks/quality_pictures.py
	$(DEV)/bin/python benchmarks/tile_picture.py
	$(DEV)/bin/python benchmarks/screening_picture.py

bundle: $(DEV)/installed
	$(DEV)/bin/sarcoscope phantom bundle src/sarcoscope/bundles/phantom --work phantom-work

# An environment is whole once its file `installed` is there; it is built anew when what it is made from changes.
$(RUN)/installed: requirements/run.txt pyproject.toml
	@$(if $(PYTHON),,echo 'error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3'; exit 1)
	@echo 'building the environment in $(RUN) (once)'
	@$(PYTHON) -m venv --clear $(RUN)
	@$(RUN)/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@$(RUN)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV)/installed: requirements/test.txt requirements/gradcam.txt pyproject.toml
	@$(if $(PYTHON),,echo 'error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3'; exit 1)
	@echo 'building the environment with the training extra in $(DEV) (once; torch is large)'
	@$(PYTHON) -m venv --clear $(DEV)
	@$(DEV)/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@$(DEV)/bin/python $(PIP) --require-hashes --no-deps --no-build-isolation -r requirements/gradcam.txt
	@$(DEV)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# Peers, for `make bench` only: each in an environment of its own, since neither installs beside what we need.
# histolab wants Debian's libopenslide0 and Python 3.11; TIAToolbox takes about 6 GB.
.venv-histolab/installed: requirements/peers-histolab.txt
	@python3.11 -m venv --clear .venv-histolab
	@.venv-histolab/bin/python $(PIP) --require-hashes --no-deps --only-binary :all: --no-binary openslide-python -r $<
	@touch $@

.venv-tiatoolbox/installed: requirements/peers-tiatoolbox.txt
	@python3.11 -m venv --clear .venv-tiatoolbox
	@.venv-tiatoolbox/bin/python $(PIP) --require-hashes --only-binary :all: -r $<
	@touch $@

# A week old at least: a release that turns out to be malware is mostly found within days.
COMPILE = uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header --exclude-newer $(shell date -d '7 days ago' +%F)
OURS = $(COMPILE) --universal --constraint requirements/constraints.txt
lock:
	echo 'histolab==0.7.0' | $(COMPILE) --override requirements/peers-overrides.txt --only-binary :all: \
		--no-binary openslide-python - --output-file requirements/peers-histolab.txt
	echo 'tiatoolbox==2.1.3' | $(COMPILE) --universal - --output-file requirements/peers-tiatoolbox.txt
	printf 'grad-cam\nttach\n' | $(COMPILE) --universal --no-deps - --output-file requirements/gradcam.txt
	$(OURS) pyproject.toml requirements/build.in --output-file requirements/run.txt
	$(OURS) pyproject.toml requirements/build.in --extra train --extra cluster --group dev --output-file requirements/test.txt

clean:
	rm -rf $(RUN) $(DEV) demo phantom-work phantom-study phantom-study-tiny .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
