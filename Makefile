# Everything a developer runs. Needs Python >= 3.11, make and nothing else prepared; see scripts/setup.sh.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check bench format clean
PYTHON ?=
export PYTHON

BIN := .venv/bin
LANES := -n 2 --dist loadgroup
INPUTS := pyproject.toml constraints.txt scripts/setup.sh
DEMO_SOURCE := synthetic:?size=640x360&fps=30&count=300&seed=7&held_out=1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/base.done ## detect, draw and record a synthetic scene with the shipped model (installs no torch)
	@mkdir -p out
	@$(BIN)/streamer run "$(DEMO_SOURCE)" --model tiny-yolo --sink out/demo.mp4 --sink out/demo.jsonl
	@echo "demo: watch out/demo.mp4, read out/demo.jsonl"

test: .venv/test.done ## run the tests (installs torch for those of trainers); ARGS="..." runs what it names
	@$(BIN)/python -m pytest $(or $(ARGS),$(LANES))

check: .venv/check.done ## format, lint, types and architecture; no torch
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy engines streamer
	@printf 'darwin\nwin32\n' | xargs -P 2 -I{} \
	  $(BIN)/mypy --platform {} --cache-dir .mypy_cache/{} --no-warn-unreachable engines streamer
	@$(BIN)/python -m pytest tests/test_architecture.py

bench: .venv/base.done ## measure this machine: engine alone, decode alone, the whole pipeline
	@$(BIN)/python -m benchmarks

format: .venv/check.done ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

clean: ## remove what the other targets made, .venv included
	rm -rf .venv out/demo.mp4 out/demo.jsonl build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -exec rm -rf {} +

.venv/base.done: $(INPUTS)
	@scripts/setup.sh base && touch $@

.venv/check.done: $(INPUTS)
	@scripts/setup.sh check && touch .venv/base.done $@

.venv/test.done: $(INPUTS)
	@scripts/setup.sh test && touch .venv/base.done .venv/check.done $@
