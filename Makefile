# make help        lists what there is. Every target sets up what it needs in .venv by itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
PY := $(VENV)/bin/python
PYTEST_ARGS ?= -n 2 --dist loadfile
BENCH_ARGS ?=
DEMO_ARGS ?=
FUZZ_SECONDS ?= 60

# The newest Python on the path that will do; `make PYTHON=/path/to/python3.12` overrides.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
# The C++ compiler: $CXX where it was set, else g++, else clang++.
ifeq ($(origin CXX),default)
CXX := $(firstword $(foreach c,g++ clang++ clang++-14,$(shell command -v $(c) 2>/dev/null)))
endif
# The compiler of the fuzzers: any clang++ that has libFuzzer.
FUZZ_CXX ?= $(firstword $(foreach c,clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14,$(shell \
	t=$$(mktemp) && echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' \
	| $(c) -fsanitize=fuzzer,address -x c++ - -o $$t >/dev/null 2>&1 && command -v $(c); rm -f $$t)))
export CXX
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

PIP := $(PY) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

.PHONY: help
help:  ## Show this list
	@echo "Targets:"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

# ---- checks: one sentence each for what only root can install ----------------------------------------------------------
.PHONY: check-python check-cxx check-fuzzer
check-python:
	@[ -n "$(PYTHON)" ] || { echo "error: Python 3.11 or newer was not found; install it with: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments; install what it lacks with: sudo apt-get install python3-venv" >&2; exit 1; }

check-cxx:
	@[ -n "$(CXX)" ] && echo '#include <cstdint>' | $(CXX) -std=c++17 -x c++ -fsyntax-only - 2>/dev/null || { echo "error: a C++17 compiler was not found; install one with: sudo apt-get install g++" >&2; exit 1; }

check-fuzzer:
	@[ -n "$(FUZZ_CXX)" ] || { echo "error: clang++ with libFuzzer, which the tests use, was not found; install it with: sudo apt-get install clang-14 libclang-rt-14-dev" >&2; exit 1; }

# ---- the virtual environment, in two steps: what the tool needs, and what its developers need ---------------------------
# `demo` and `firmware` need the first only.
$(VENV)/.stamp-venv: | check-python
	@[ -x $(PY) ] && $(PY) -m pip --version >/dev/null 2>&1 || { echo "Making a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@touch $@

$(VENV)/.stamp-tool: pyproject.toml constraints.txt $(VENV)/.stamp-venv
	@echo "Installing the tool and what it needs into $(VENV) (about a minute the first time)"
	@$(PIP) -e '.[build]'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-pio
	@echo "Installing what training and the tests need into $(VENV) (PyTorch among it: some minutes the first time)"
	@$(PIP) -e '.[build,pio,train,referee,data,dev]'
	@touch $@

$(VENV)/.stamp-pio: $(VENV)/.stamp-tool
	@$(PIP) -e '.[build,pio]'
	@touch $@

.PHONY: setup setup-dev
setup: $(VENV)/.stamp-tool  ## Install what the tool needs into .venv (no PyTorch)
setup-dev: $(VENV)/.stamp-dev  ## Install what training, tests and linters need, too

# ---- what people type --------------------------------------------------------------------------------------------------
.PHONY: demo firmware test bench bench-boards lint format fuzz clean distclean
firmware: check-cxx $(VENV)/.stamp-tool  ## Build the firmware for this computer into build/native
	@mkdir -p build; cd firmware; exec 9>../build/.native.lock; flock 9 2>/dev/null || true; \
	cmake --preset native -DCMAKE_CXX_COMPILER=$(CXX) -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(VENV)/bin/ninja --log-level=WARNING >/dev/null \
	&& cmake --build --preset native -- --quiet

# Emulated boards: the images build/NAME/tbft_NAME.elf of firmware/boards/NAME.json.
BOARDS := $(patsubst firmware/boards/%.json,%,$(wildcard firmware/boards/*.json))
.PHONY: toolchain check-boards firmware-boards $(BOARDS:%=firmware-%)
toolchain: check-boards  ## Make the Xtensa compiler in build/toolchain (about two minutes, once)
	@firmware/toolchain/make_xtensa.sh build/toolchain

check-boards:
	@firmware/toolchain/check_packages.sh

firmware-boards: $(BOARDS:%=firmware-%)  ## Build the firmware for the emulated boards into build/NAME
$(BOARDS:%=firmware-%): firmware-%: toolchain $(VENV)/.stamp-tool
	@exec 9>build/.$*.lock; flock 9; \
	cmake -S firmware -B build/$* -G Ninja -DTBFT_BOARD=$* -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(VENV)/bin/ninja --log-level=WARNING >/dev/null \
	&& cmake --build build/$* --target tbft_$* -- --quiet

# PlatformIO beside CMake, on machines with its registry and without (docs/boards.md).
.PHONY: platformio
platformio: toolchain $(VENV)/.stamp-pio  ## Make `pio run` work where PlatformIO's registry cannot be reached
	@$(PY) firmware/platformio/prepare_core.py

demo: check-python check-cxx firmware  ## Export, fine-tune and record on this computer; ends with a table and a picture
	@$(PY) -m host.demo $(DEMO_ARGS)

test: check-python check-cxx check-fuzzer toolchain $(VENV)/.stamp-dev platformio  ## Run all tests (linters and bounded fuzzing among them)
	@$(PY) -m pytest $(PYTEST_ARGS)

bench: check-python check-cxx $(VENV)/.stamp-dev firmware  ## Measure, print the table of numbers to reach, write build/bench/bench.json
	@$(PY) -m host.bench $(BENCH_ARGS)

bench-boards: check-python check-cxx toolchain $(VENV)/.stamp-dev firmware  ## Count instructions on the emulated CPUs beside their bars, write build/bench/boards.json
	@$(PY) -m host.bench.boards $(BENCH_ARGS)

lint: check-python check-cxx $(VENV)/.stamp-dev  ## Run ruff, mypy, clang-format, clang-tidy and the layering checks
	@$(PY) -m pytest -q tests/python/test_lint.py tests/python/test_layering.py

format: $(VENV)/.stamp-dev  ## Rewrite the sources as ruff and clang-format want them
	@$(PY) -m ruff check --fix-only --quiet . ; $(PY) -m ruff format --quiet .
	@find firmware tests/firmware \( -name '*.cc' -o -name '*.h' \) -print0 | xargs -0 -r clang-format -i

fuzz: check-python check-fuzzer $(VENV)/.stamp-dev  ## Fuzz the artifact loader and the frame decoder, FUZZ_SECONDS=60 each
	@TBFT_FUZZ_SECONDS=$(FUZZ_SECONDS) $(PY) -m pytest -v --timeout 0 tests/firmware/test_fuzz.py

clean:  ## Remove what was built (keeps .venv, runs/ and the Xtensa compiler)
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name toolchain -exec rm -rf {} +; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find exporter host energy tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## Remove .venv and the Xtensa compiler as well
	rm -rf build $(VENV) *.egg-info
