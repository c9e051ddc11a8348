# `make demo` and `make test` need only git, make and Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
DEMO_DATA := data/sample
DEMO_RUN := saved/log/sample/demo
DEMO_CHECKPOINT := saved/models/sample/demo/best_epoch.pth
DEMO_CSV := submit/sample_demo.csv

.DEFAULT_GOAL := help
.PHONY: help setup demo app test test-fast coverage lint format hooks golden shape train clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready  ## make the environment (.venv) from requirements.txt

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.txt
	@touch $@

demo: $(DEMO_RUN)/finished.json  ## generate people, crop, train, predict, score
	$(BIN)/python test.py --resume $(DEMO_CHECKPOINT) --answers $(DEMO_DATA)/eval/answers.csv --out $(DEMO_CSV)
	@echo "checkpoint: $(DEMO_CHECKPOINT)"

app: $(DEMO_CHECKPOINT)  ## show the demo's model in a web page
	$(BIN)/python -m streamlit run app.py -- --resume $(DEMO_CHECKPOINT)

$(DEMO_CHECKPOINT):
	$(MAKE) demo

$(DEMO_DATA)/sample.json: | .venv/ready
	$(BIN)/python -m tools.sample --out $(DEMO_DATA) --persons 210 --eval-persons 60 --seed 1

$(DEMO_RUN)/finished.json: $(DEMO_DATA)/sample.json
	$(BIN)/python train.py --config configs/sample.json --run-id demo --resume auto

test: .venv/ready  ## run the test suite
	$(BIN)/python -m pytest

test-fast: .venv/ready  ## the tests that take a minute together
	$(BIN)/python -m pytest -m "not slow and not browser"

coverage: .venv/ready  ## the test suite, and which lines it runs (htmlcov/)
	$(BIN)/python -m pytest --cov --cov-report=html --cov-report=term:skip-covered

lint: .venv/ready  ## check formatting, imports and code with ruff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/ready  ## let ruff put formatting and imports right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: .venv/ready  ## let git run `make lint` before each commit
	$(BIN)/pre-commit install

golden: .venv/ready  ## check that no number moved since the commit in tests/golden/BASE
	$(BIN)/python tests/golden/compare.py

shape: .venv/ready  ## count lines, words of the faces, imports in functions
	$(BIN)/python tests/shape.py

train: .venv/ready  ## train config.json on data/
	$(BIN)/python train.py --config config.json

clean:  ## remove the sample data, its runs and the crop cache; other runs stay
	rm -rf $(DEMO_DATA) saved/models/sample saved/log/sample saved/crops submit/sample_*
