# `make demo` and `make test` need only git, make and Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
# The demo: its data, how they are drawn, what comes last of them, the config, how it is scored.
NAME := sample
DEMO_DATA := data/sample
DEMO_DRAW := -m tools.sample --out $(DEMO_DATA) --persons 300 --eval-persons 60 --balanced train eval --seed 1
DEMO_DRAWN := $(DEMO_DATA)/sample.json
DEMO_CONFIG := configs/sample.json
DEMO_TEST := --answers $(DEMO_DATA)/eval/answers.csv

DEMO_RUN := saved/log/$(NAME)/demo
DEMO_CHECKPOINT := saved/models/$(NAME)/demo/best_epoch.pth

.DEFAULT_GOAL := help
.PHONY: gpu help setup demo app test test-fast fuzz soak audit lock coverage lint format hooks golden shape train clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready  ## make the environment (.venv) from requirements.txt (CPU=1: without CUDA)

# CPU=1: builds of torch without CUDA, an environment of a third of the size. On Linux they lie at
# an index of their own, unless pip is configured with one that has them: TORCH_CPU_INDEX=URL, as
# PyTorch's page of installation shows for "CPU". Everywhere else the usual builds are such.
ifdef CPU
ifeq ($(shell uname -s),Linux)
INDEX := $(if $(TORCH_CPU_INDEX),--extra-index-url $(TORCH_CPU_INDEX))
CPU_ONLY := $(INDEX) --constraint .venv/cpu.txt
endif
endif

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@sed -nE 's/^(torch|torchvision)==.*/&+cpu/p' requirements.txt > .venv/cpu.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.txt $(CPU_ONLY) \
		$(if $(CPU_ONLY),|| { echo "error: if no torch of +cpu was found: make setup CPU=1 TORCH_CPU_INDEX=URL (the index that PyTorch's page shows for CPU)"; exit 2; })
	@touch $@

demo: $(DEMO_RUN)/finished.json  ## draw photos, crop, train, predict, score
	$(BIN)/python test.py --resume $(DEMO_CHECKPOINT) $(DEMO_TEST) --out submit/$(NAME)_demo.csv
	@echo "checkpoint: $(DEMO_CHECKPOINT)"

app: $(DEMO_CHECKPOINT)  ## show the demo's model in a web page
	$(BIN)/python -m streamlit run app.py -- --resume $(DEMO_CHECKPOINT)

$(DEMO_CHECKPOINT):
	$(MAKE) demo

$(DEMO_DRAWN): | .venv/ready
	$(BIN)/python $(DEMO_DRAW)

$(DEMO_RUN)/finished.json: $(DEMO_DRAWN)
	$(BIN)/python train.py --config $(DEMO_CONFIG) --run-id demo --resume auto

test: .venv/ready  ## run the test suite
	$(BIN)/python -m pytest

test-fast: .venv/ready  ## the quick tests of every room, about three in four
	@# Without a plugin that no quick test needs: it takes every process a second to load.
	$(BIN)/python -m pytest -m "not slow and not browser" -p no:hypothesispytest

fuzz: .venv/ready  ## wrong files by the thousand and 200 kills, with tables of how they were taken
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m benchmarks.kill_and_resume

soak: $(DEMO_CHECKPOINT)  ## 1,000 photos by visitors of the page who come and go, and its memory
	$(BIN)/python -m benchmarks.app_soak --resume $(DEMO_CHECKPOINT)

audit: .venv/ready  ## compare the installed packages with requirements.txt and their own digests
	$(BIN)/python -m tools.packages --audit

lock: .venv/ready  ## write down every installed version (requirements.lock)
	@$(BIN)/python -c 'import platform as p; print("# Every version as installed by make setup: Python", p.python_version() + ",", p.system(), p.machine() + "; written by make lock.")' > requirements.lock
	$(BIN)/python -m pip freeze --exclude masktracer --exclude-editable >> requirements.lock

coverage: .venv/ready  ## the test suite, and which lines it runs (htmlcov/)
	$(BIN)/python -m pytest --cov --cov-report=html --cov-report=term:skip-covered

lint: .venv/ready  ## check formatting, code, types, and that imports go one way
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: .venv/ready  ## let ruff put formatting and imports right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: .venv/ready  ## let git run `make lint` before each commit
	$(BIN)/pre-commit install

golden: .venv/ready  ## check that no number moved since the commit in tests/golden/BASE
	$(BIN)/python tests/golden/compare.py

gpu: .venv/ready  ## measure on a GPU, 4 minutes (ARGS=--check: does it work, 2 minutes)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

shape: .venv/ready  ## count lines, words of the faces, imports in functions
	$(BIN)/python tests/shape.py

train: .venv/ready  ## train config.json on data/
	$(BIN)/python train.py --config config.json

clean:  ## remove the demo's data, its runs and the crop cache; other runs stay
	rm -rf $(DEMO_DATA) saved/models/$(NAME) saved/log/$(NAME) saved/crops submit/$(NAME)_*
