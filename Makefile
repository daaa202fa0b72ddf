# Everything a developer runs, in $(VENV). `make demo` brings what the demo needs from the package index, without
# PyTorch; `make test` and `make venv` add the rest. Each is done once, and the package itself is installed again
# whenever its files change.

VENV ?= .venv
PYTHON ?= python3
# PyTorch, the first of these that can be had: the CPU build is small. A CUDA build: make venv PIP_TORCH_ARGS=
TORCH_SPEC ?= torch==2.13.0
PIP_TORCH_ARGS ?= --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu
DEMO_EXTRAS ?= ros,onnx,sim,build
EXTRAS ?= torch,train,evaluate,nyuv2,download,test
SECONDS_TO_RUN ?= 60
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile
# `make floors`. The oldest PyTorch without CUDA is on PyTorch's own index only: elsewhere the usual one stands in for it.
FLOORS_VENV ?= .venv-floors
FLOORS_TORCH ?= torch==2.2.2+cpu $(TORCH_SPEC)

BIN := $(VENV)/bin
DEMO_REQUIREMENTS := $(VENV)/.demo-requirements-installed
REQUIREMENTS := $(VENV)/.requirements-installed
PACKAGE := $(VENV)/.package-installed
FOLDERS := asymformer_ros config launch msg resource rviz scripts
FILES := $(sort $(shell find $(FOLDERS) -type f ! -name '*.pyc'))
FILE_LIST := $(VENV)/.package-files

# Another ROS installation in the calling shell must not reach into this one.
unexport PYTHONPATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH VIRTUAL_ENV
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
endif
export AMENT_PREFIX_PATH := $(abspath $(VENV))

.PHONY: venv demo test pytest floors lint format colcon clean FORCE

.NOTPARALLEL:

venv: $(REQUIREMENTS) $(PACKAGE)

$(DEMO_REQUIREMENTS): setup.cfg pyproject.toml
	@$(PYTHON) scripts/supported_machine.py
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing ROS 2 and ONNX Runtime into $(VENV): a minute, the first time only."
	@$(BIN)/python scripts/requirements.py $(AGE) $(DEMO_EXTRAS) > $@.txt
	$(BIN)/python -m pip install --quiet -r $@.txt
	@touch $@

$(REQUIREMENTS): $(DEMO_REQUIREMENTS)
	@echo "Installing PyTorch and what the tests need into $(VENV): a few minutes, the first time only."
	for torch in $(TORCH_SPEC); do \
	  $(BIN)/python -m pip install --quiet --no-deps $(PIP_TORCH_ARGS) "$$torch" && break; done
	@$(BIN)/python scripts/requirements.py $(AGE) $(EXTRAS) > $@.txt
	$(BIN)/python -m pip install --quiet -r $@.txt
	@touch $@

# A file that was deleted changes this list and nothing else.
$(FILE_LIST): FORCE | $(DEMO_REQUIREMENTS)
	@echo "$(FILES)" | cmp -s - $@ || echo "$(FILES)" > $@

# The extra `build` holds all that the build needs, so it is not brought once more.
$(PACKAGE): $(DEMO_REQUIREMENTS) $(FILE_LIST) $(FILES) setup.py package.xml
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	@touch $@

demo: $(PACKAGE)
	$(BIN)/asymformer demo --seconds $(SECONDS_TO_RUN)

test: lint pytest

pytest: venv
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# All tests on the oldest versions that setup.cfg allows.
floors:
	$(MAKE) pytest VENV=$(FLOORS_VENV) AGE=--oldest EXTRAS=$(EXTRAS),rtx TORCH_SPEC="$(FLOORS_TORCH)"

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# colcon with the wheels as the ROS installation; with a ROS distribution it is plain `colcon build`.
colcon: venv
	$(BIN)/python scripts/wheel_underlay.py $(VENV) build/underlay \
	  colcon build --base-paths . --build-base build/colcon

clean:
	rm -rf build dist install log *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
