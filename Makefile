PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint setup clean web docs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The core install is enough for the demo: no torch.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.core

setup: $(VENV)/.dev

demo: $(VENV)/.core
	@mkdir -p demo
	@$(BIN)/golf deblur examples/walkway.jpg -o demo/walkway.jpg --strokes --force
	@echo "Before and after: $(CURDIR)/demo/walkway-strokes.png"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# By several processes, so that one that ends is one failed test.
test: lint
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

# The fast tests with the oldest and the newest of everything, on each Python that can be had; needs uv, not torch.
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14
.PHONY: test-matrix
test-matrix:
	tests/matrix.sh $(PYTHONS)

# The page for the browser; needs node and npm.
web/dist/index.html: $(wildcard web/src/* web/src/*/*) web/build.mjs web/pad.mjs web/package-lock.json src/golfdeblur/weights/fast/config.json
	cd web && npm ci --no-audit --no-fund && npm run build

web: web/dist/index.html

# With the page's tests in Debian's chromium and firefox-esr, where they are installed.
test-slow: $(VENV)/.dev web
	cd web && npm test
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser,docs]"
	$(BIN)/pytest -m slow

# The site, in build/site, with the page for the browser beside it (app/) where `make web` has built it.
docs: | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site: $(CURDIR)/build/site/index.html"

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache

# Measure the embedded models and renew every generated table and picture. DATA holds pair folders (blur/ and sharp/).
DATA ?= ../shared/data
SETS := $(DATA)/gopro_test $(DATA)/reds_val $(DATA)/gopro_avg_train build/levin09 build/uniform
RESULTS := build/results
RUNS := fast-0 fast-3 paper-0 paper-3
tables = $(foreach run,$(RUNS) fast-self-ensemble,$(foreach set,$(1),$(RESULTS)/$(notdir $(set))-$(run).json))
# Camera shake does not tell where the camera stood, so Levin's photos are compared as he does.
evaluate = $(BIN)/golf evaluate $$set $$(case $$set in *levin09) echo --best-shift 5;; esac)
# The sets by which the deconvolution is chosen (val) and judged (test): some eight minutes of one core.
.PHONY: sets
sets: $(VENV)/.dev
	$(BIN)/python research/deconvolution/sets.py $(DATA) build/sets

.PHONY: results
results: $(VENV)/.dev
	mkdir -p $(RESULTS)
	$(BIN)/python research/scripts/levin_pairs.py $(DATA) build
	for run in $(RUNS); do for set in $(SETS); do \
	  $(evaluate) --model $${run%-*} --steps $${run#*-} --json $(RESULTS)/$$(basename $$set)-$$run.json --force; \
	done; done
	for set in $(SETS); do \
	  $(evaluate) --self-ensemble --json $(RESULTS)/$$(basename $$set)-fast-self-ensemble.json --force; \
	done
	$(BIN)/golf table $(call tables,$(SETS)) --into research/scores.md
	$(BIN)/golf table $(foreach run,fast-3 paper-3,$(foreach set,$(SETS),$(RESULTS)/$(notdir $(set))-$(run).json)) --into MODEL_CARD.md
	$(BIN)/golf table $(RESULTS)/gopro_test-fast-*.json $(RESULTS)/reds_val-fast-3.json $(RESULTS)/levin09-fast-3.json --into README.md
	$(BIN)/python research/scripts/sharp.py $(DATA)
	$(BIN)/python research/deconvolution/sets.py $(DATA) build/sets val/shaken
	$(BIN)/python research/noise.py $(DATA) build/sets
	$(BIN)/python research/scripts/gather.py $(RESULTS)
	$(BIN)/python docs/pictures/before_after.py
	$(BIN)/python docs/pictures/failures.py
	$(BIN)/python docs/pictures/shake.py
	$(BIN)/python docs/pictures/gallery.py $(DATA)

# The paper's rivals on Levin's photographs, and which tool is for which blur: some twenty minutes of one core.
RIVALS := l0 dark-channel normalised-sparsity wiener richardson-lucy tv hyper-laplacian
.PHONY: rivals experiments
rivals: $(VENV)/.dev
	mkdir -p build/rivals
	$(BIN)/python research/scripts/levin_pairs.py $(DATA) build
	for blur in auto scene shake; do \
	  $(BIN)/golf evaluate build/levin09 --best-shift 5 --blur $$blur --json build/rivals/levin09-fast-$$blur.json --force; done
	for method in $(RIVALS); do \
	  $(BIN)/golf evaluate build/levin09 --best-shift 5 --method $$method --json build/rivals/levin09-$$method.json --force; done
	$(BIN)/python research/scripts/which_tool.py build/rivals/*.json --into README.md docs/experiments.md

# The paper's experiments of a few minutes each; `forgetting` and `balance` take half an hour.
experiments: $(VENV)/.dev
	for name in prior theory convergence gradient-field hard known-kernel tables; do \
	  $(BIN)/golf experiment $$name --data $(DATA)/reds_val --out build/experiments/$$name --force; done
	$(BIN)/python docs/experiments_table.py build/experiments
