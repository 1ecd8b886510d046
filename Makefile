# `make help` lists what can be done. Everything runs in .venv; nothing outside the repository is written.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# KServe wants an older numpy than the frameworks.
KSERVE := $(VENV)/kserve
# .venv with JAX, which TensorFlow imports wherever it finds it: not for workers that do not ask for it.
STUDY := $(VENV)/study
AUDIT := $(VENV)/audit
# Linters of the containers' files, and Compose where the engine has none.
CONTAINERS := $(VENV)/containers
REPOSITORY := models/repository
ARGS ?=
# For containers; docs/containers.md has the variables. The last image is the one that `make up` serves with.
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
STACK = $(COMPOSE) --file docker/compose.yml $(if $(filter %-gpu,$(QUADRIGA_IMAGE)),--file docker/compose.gpu.yml)
LOADS := load-onnx load-torchscript load-savedmodel load-keras
# As Compose takes it.
GRAFANA = $(or $(GRAFANA_IMAGE),$(shell sed -n 's/.*{GRAFANA_IMAGE:-\(.*\)}/\1/p' docker/compose.yml))
BUILD_ARGS ?=
BUILD = DOCKER_BUILDKIT=1 $(DOCKER) build $(BUILD_ARGS) --file docker/Dockerfile
IMAGES ?= onnx torch tensorflow load all
GPU_IMAGES ?= onnx-gpu torch-gpu tensorflow-gpu all-gpu
# Options for pip, such as another index for CPU builds of torch.
PIP_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install models serve test test-exports fuzz chaos soak test-clients check audit format proto dashboards bench study \
	images images-gpu sbom up load down test-containers clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(INSTALLED)  ## Create .venv and install Quadriga with every backend and the developers' tools.

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.11")'
	@echo "installing into $(VENV): all four frameworks, a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet $(PIP_ARGS) "pip>=25.1"
	@$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt --editable ".[zoo,mlperf,otel,nvml]" --group dev
	@touch $@

models: install  ## Train and export the demo models into models/repository, only what is missing.
	@$(BIN)/quadriga zoo build --repository $(REPOSITORY)

serve: models  ## Serve the demo models. Flags: make serve ARGS="--grpc-port 0".
	@exec $(BIN)/quadriga serve --repository $(REPOSITORY) $(ARGS)

test: models  ## Run the tests, but those of exports, containers, chaos and soak.
	$(BIN)/python -m pytest $(ARGS)

test-exports: models  ## Make models of all kinds in all formats, and compare them: some minutes.
	$(BIN)/python -m pytest -m exports -o timeout=1000 tests/models $(ARGS)

fuzz: models  ## Damage all that comes in, and take 200,000 fresh steps of scheduling. QUADRIGA_FUZZ_SEED=N repeats a run.
	QUADRIGA_FUZZ_CASES=$${QUADRIGA_FUZZ_CASES:-100000} $(BIN)/python -m pytest -o timeout=1800 tests/fuzz $(ARGS)
	QUADRIGA_FUZZ_STEPS=$${QUADRIGA_FUZZ_STEPS:-200000} $(BIN)/python -m pytest -o timeout=1800 -s \
	  tests/server/test_scheduling_machine.py tests/server/workers/test_slab_machine.py $(ARGS)

fuzz: export QUADRIGA_FUZZ_SEED := $(or $(QUADRIGA_FUZZ_SEED),$(shell date +%s))

chaos: models  ## Kill, hang, overload, drain and attack servers under load, and print the figures. QUADRIGA_CHAOS_SECONDS=10 is short.
	$(BIN)/python -m pytest -m chaos -o timeout=3600 -o faulthandler_timeout=3700 tests/reliability $(ARGS)

soak: models  ## Send 1,000,000 requests, load and unload 500 times, and print what memory did. QUADRIGA_SOAK_REQUESTS=40000 is short.
	$(BIN)/python -m pytest -m soak -o timeout=3600 -o faulthandler_timeout=3700 tests/reliability $(ARGS)

test-clients: install $(KSERVE)/.installed  ## Let KServe's client talk to the server and its models read the manifests, from an environment of its own.
	KSERVE_PYTHON=$(KSERVE)/bin/python $(BIN)/python -m pytest tests/system/test_kserve_client.py tests/docker/test_kubernetes.py -k kserve $(ARGS)

$(KSERVE)/.installed: constraints.txt
	@test -x $(KSERVE)/bin/python || $(PYTHON) -m venv $(KSERVE)
	@$(KSERVE)/bin/python -m pip install --quiet $(PIP_ARGS) $(shell grep ^kserve== constraints.txt)
	@touch $@

check: install  ## Lint, format check, types, and what is generated against its source: stubs, dashboards.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python proto/generate.py --check
	$(BIN)/python docker/grafana/make_dashboards.py --check

audit: $(AUDIT)/.installed  ## Ask for advisories about the pinned versions. ARGS="--vulnerability-service osv" asks another service.
	@$(AUDIT)/bin/python .ci/audit.py $(AUDIT)/bin/pip-audit $(ARGS)

$(AUDIT)/.installed: constraints.txt
	@test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet $(PIP_ARGS) $(shell grep ^pip-audit== constraints.txt)
	@touch $@

format: install  ## Let ruff mend formatting and imports.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: install  ## Regenerate the protobuf stubs.
	$(BIN)/python proto/generate.py

dashboards: install  ## Regenerate the Grafana dashboards.
	$(BIN)/python docker/grafana/make_dashboards.py

bench: models  ## Measure: served beside bare, concurrency, instances and more. ARGS="--only onnx" runs one.
	$(BIN)/python benchmarks/bench.py $(ARGS)

study: models $(STUDY)/.installed  ## Compare frameworks from scratch, and write docs/study.md: some 15 minutes.
	$(STUDY)/bin/python benchmarks/make_study.py $(ARGS)

$(STUDY)/.installed: $(INSTALLED)
	@test -x $(STUDY)/bin/python || $(BIN)/python -m venv $(STUDY)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > "$$($(STUDY)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/above.pth"
	@$(STUDY)/bin/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt jax
	@touch $@

images:  ## Build the container images: IMAGES="onnx torch tensorflow load all".
	@for image in $(IMAGES); do $(BUILD) --target $$image --tag quadriga:$$image . || exit; done

images-gpu:  ## Build the images for NVIDIA GPUs: GPU_IMAGES="onnx-gpu torch-gpu tensorflow-gpu all-gpu".
	@for image in $(GPU_IMAGES); do $(BUILD) --target $$image --tag quadriga:$$image . || exit; done

sbom: $(CONTAINERS)/.installed  ## Write what the images consist of, as CycloneDX: sbom/IMAGE.json. IMAGES=onnx is one.
	@mkdir -p sbom
	@for image in $(IMAGES); do \
	  $(CONTAINERS)/bin/trivy image --quiet --offline-scan --format cyclonedx --output sbom/$$image.json quadriga:$$image \
	    || exit; \
	done

up: $(if $(QUADRIGA_MODELS),,models)  ## Serve the demo models in containers, with Prometheus and Grafana beside it.
	@$(MAKE) --no-print-directory images IMAGES="load $(or $(QUADRIGA_IMAGE),all)"
	@$(STACK) up --detach --wait --no-build server prometheus
	@if $(DOCKER) image inspect $(GRAFANA) >/dev/null 2>&1 || $(STACK) pull grafana; then \
	  $(STACK) up --detach --wait --no-build grafana; \
	else \
	  echo "there is no Grafana: $(GRAFANA) cannot be pulled; all else is up"; \
	fi

load:  ## Send load to the demo models' four backends in the stack of `make up`, until `make down`.
	@$(STACK) --profile load up --detach --no-build --no-deps $(LOADS)

down:  ## Stop the containers of `make up`, and remove what they have stored.
	@$(STACK) --profile load down --volumes --remove-orphans

test-containers: models $(CONTAINERS)/.installed  ## Build the images, and try them and the whole stack on a Docker engine.
	$(BIN)/python -m pytest tests/docker $(ARGS)
	$(BIN)/python -m pytest -m containers tests/containers $(ARGS)

test-containers: export PATH := $(PATH):$(CURDIR)/$(CONTAINERS)/bin

$(CONTAINERS)/.installed: pyproject.toml constraints.txt
	@test -x $(CONTAINERS)/bin/python || $(PYTHON) -m venv $(CONTAINERS)
	@$(CONTAINERS)/bin/python -m pip install --quiet $(PIP_ARGS) "pip>=25.1"
	@$(CONTAINERS)/bin/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt --group containers
	@touch $@

clean:  ## Remove the environment and the demo models.
	rm -rf $(VENV) $(REPOSITORY)
