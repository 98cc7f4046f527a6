# Everything runs in .venv, which is made from envs/lock.txt. Needs make, python3 >= 3.11 and python3-venv.
#   make study                              the pocket study, from raw text to results/pocket/report.html
#   make study STUDY=studies/olmoe.yaml     another study; CORES=4 for fewer cores, ARGS="-n" for snakemake's options
#   make test                               style, lint and the tests that a person waits for, a few minutes
#   make test-all                           those, and the slow ones: faults, kills, a browser

PYTHON ?= python3
STUDY ?=
CORES ?=
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLING := .venv/.installing
RUN := $(BIN)/python workflow_scripts/run_study.py $(if $(STUDY),--study '$(STUDY)') $(if $(CORES),--cores $(CORES))
EXTRA := $(if $(ARGS),-- $(ARGS))
# Two processes share the tests, a file at a time, each with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests --ignore tests/slurm

export PYTHONPATH := $(CURDIR)/lib

.DEFAULT_GOAL := help
.PHONY: help install study smoke package report test test-all slurm-test lint format site bench gpu-acceptance

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## make .venv from the lock

study: $(INSTALLED)  ## run the study and write its HTML report
	@$(RUN) $(EXTRA)

smoke: $(INSTALLED)  ## the smallest study that passes every stage
	@$(BIN)/python workflow_scripts/run_study.py --study studies/smoke.yaml $(if $(CORES),--cores $(CORES)) $(EXTRA)

package: $(INSTALLED)  ## write finished results as one archive with checksums; STUDY=results/pocket
	@$(BIN)/python -m switchyard package --study '$(if $(STUDY),$(STUDY),results/pocket)' $(ARGS)

report: $(INSTALLED)  ## write the HTML report of finished results again
	@$(RUN) --report-only $(EXTRA)

test: lint  ## style, lint and the tests that a person waits for
	@$(PYTEST) -m "not slow"

test-all: test  ## and the slow tests: faults, kills, a browser
	@$(PYTEST) -m slow

slurm-test: $(INSTALLED)  ## the smoke study on a SLURM of two nodes, started here: Debian and root
	@$(BIN)/python -m pytest -q -s -rs tests/slurm

lint: $(INSTALLED)  ## style of the Python and Snakemake files
	@$(BIN)/ruff format --check . >/dev/null || { echo "switchyard: error: files are not formatted; run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/snakefmt --check Snakefile rules >/dev/null 2>&1 || { echo "switchyard: error: rules are not formatted; run make format" >&2; exit 1; }
	@$(BIN)/python -m snakemake --lint --quiet $(if $(STUDY),--configfile '$(STUDY)')

format: $(INSTALLED)  ## format the Python and Snakemake files
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/snakefmt Snakefile rules

gpu-acceptance: $(INSTALLED)  ## on one card, ten minutes: is the device path right, and how fast; ARGS="--device cpu --tiny" tries the script
	@$(BIN)/python -m bench.gpu_acceptance $(ARGS)

site: $(INSTALLED)  ## the documentation site, in site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "site/index.html"

bench: $(INSTALLED)  ## benchmarks that print ratios; ARGS="selection trace" for some of them
	@$(BIN)/python -m bench $(ARGS)

# One installation at a time: descriptor 9 holds the lock until this shell and all that it started have ended.
# An installation that was cut short leaves .installing behind, and is begun again from an empty folder.
HOLD := $(PYTHON) -c 'import fcntl, sys; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB * len(sys.argv[1:]))'

$(INSTALLED): envs/lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "switchyard: error: python3 >= 3.11 is needed, found: $$($(PYTHON) --version 2>&1 | head -n 1); install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "switchyard: error: $(PYTHON) has no venv module; install it: apt install python3-venv" >&2; exit 2; }
	@set -e; mkdir -p .snakemake; exec 9>.snakemake/install.lock; \
	$(HOLD) at-once 2>/dev/null || { echo "switchyard: another make is installing .venv; waiting for it" >&2; $(HOLD); }; \
	if [ $@ -nt $< ]; then exit 0; fi; \
	if [ -e $(INSTALLING) ]; then echo "switchyard: .venv is half installed; beginning again"; rm -rf .venv; fi; \
	mkdir -p .venv; touch $(INSTALLING); \
	$(PYTHON) -m venv .venv; \
	$(BIN)/python -m pip install --disable-pip-version-check --requirement $<; \
	$(BIN)/python -c "import sysconfig; open(sysconfig.get_path('purelib') + '/switchyard.pth', 'w').write('$(CURDIR)/lib\n')"; \
	rm $(INSTALLING); touch $(INSTALLED)
