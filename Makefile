# lipscore: `make help` lists what there is. Needs Python 3.11 or newer and make, no root.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.lipscore-installed
LINT_STAMP := $(VENV)/.lipscore-lint-installed
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt
# where torch comes from: empty takes pip's own settings, else for instance https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

# `make eval`: what to score, and how
INPUT ?= eval/data
REF ?=
PROTOCOL ?= wav2lip
OUT ?= eval/results
MODEL ?= auto
SCORES ?= all_scores.txt
ARGS ?=

.PHONY: help
help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make eval INPUT=videos REF=references PROTOCOL=wav2lip OUT=eval/results MODEL=auto|vgg|mini"
	@echo "            ARGS='other options of lipscore score'"
	@echo "  make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu   a smaller torch, for machines without a GPU"

.PHONY: setup
setup: $(STAMP)  ## make .venv and install lipscore into it, with every version pinned

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lipscore needs Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing lipscore and what it needs into $(VENV), once; torch is large" >&2
	$(PIP_INSTALL) -e '.[test]'
	@touch $@

$(LINT_STAMP): $(STAMP)
	$(PIP_INSTALL) -e '.[lint]'
	@touch $@

.PHONY: eval
eval: $(STAMP)  ## score the videos of INPUT (eval/data by default) into OUT and all_scores.txt
	@if [ "$${INPUT%/}" = eval/data ] && [ -z "$$(find -L eval/data -type f ! -name '.*' ! -path '*/reference/*' -print -quit)" ]; then \
	  echo "eval/data holds no video yet: rendering demonstration clips there; delete them when you add your own" >&2; \
	  $(BIN)/lipscore demo eval/data; \
	fi
	@$(BIN)/lipscore score $${REF:+--reference "$${REF}"} --protocol "$${PROTOCOL}" --model "$${MODEL}" \
	  --out "$${OUT}" --scores-file "$${SCORES}" $(ARGS) -- "$${INPUT}"
eval: export INPUT := $(INPUT)
eval: export REF := $(REF)
eval: export PROTOCOL := $(PROTOCOL)
eval: export OUT := $(OUT)
eval: export MODEL := $(MODEL)
eval: export SCORES := $(SCORES)

SIDE_BY_SIDE = -n auto --maxprocesses 4 --dist loadfile  # a process per core; a file stays on one of them

.PHONY: test
test: $(STAMP)  ## the quick tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-all
test-all: $(STAMP)  ## all tests, the slow ones too
	$(BIN)/python -m pytest -m 'slow or not slow' $(ARGS)

.PHONY: test-kit
test-kit: $(STAMP)  ## the slow tests that hold the numbers against the conformance kits
	$(BIN)/python -m pytest -m slow tests/syncnet/test_conformance.py tests/generate/test_wav2lip_kit.py $(ARGS)

SHELL_SCRIPTS = $(wildcard .ci/run *.sh docker/*.sh tests/image/*.sh)

.PHONY: lint
lint: $(LINT_STAMP)  ## ruff, mypy, import-linter, shellcheck, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.12  # the image's, on its real base
	$(BIN)/lint-imports
	$(BIN)/shellcheck $(SHELL_SCRIPTS)
	$(if $(wildcard Dockerfile),$(BIN)/hadolint Dockerfile)

.PHONY: bench
bench: $(STAMP)  ## the benchmarks: each compares two things and prints a ratio
	@shopt -s nullglob; for script in benchmarks/*.py benchmarks/quality/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

IMAGE ?= lipscore
ENGINE ?= docker
CPU ?=
# CPU=1: no CUDA
CPU_ARGS = --build-arg BASE_IMAGE=ubuntu:24.04 --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu

.PHONY: image
image:  ## build the container image
	$(ENGINE) build -t $(IMAGE) $(if $(CPU),$(CPU_ARGS)) \
	  --build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || true)" $(ARGS) .

.PHONY: image-test
image-test:  ## build the image for real and run it; needs root, no engine
	tests/image/run.sh

.PHONY: image-run
image-run:  ## score eval/data in the container
	touch all_scores.txt
	$(ENGINE) run --rm $(if $(CPU),,--gpus all) -v "$(CURDIR)/eval/data:/app/eval/data" \
	  -v "$(CURDIR)/all_scores.txt:/app/all_scores.txt" $(IMAGE) $(ARGS)
