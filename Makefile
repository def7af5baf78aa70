# Thin calls: the work is in scripts/bootstrap, CMakePresets.json and ctest.
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
BINARY := build/release/heed
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help bootstrap build run test test-full bench mechanism mechanisms asan tsan fuzz format tidy install uninstall dist clean

help:
	@echo 'make run        build all, pull SmolLM2-135M (93 MB) and answer a question over a document'
	@echo 'make build      $(BINARY)'
	@echo 'make test       build and run the tests (under 15 minutes on two cores)'
	@echo 'make test-full  every test, every instruction set, then once more under ASan and UBSan'
	@echo 'make bench      kernels and models beside ggml and llama.cpp, with llama-bench as a check'
	@echo 'make mechanism NAME=my_blocks STAGE=prefill   a folder to begin a mechanism from'
	@echo 'make mechanisms docs/mechanisms.md from the registry'
	@echo 'make asan tsan  the quick tests under ASan + UBSan, or under TSan'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS (60); needs clang'
	@echo 'make format     clang-format over every C++ file'
	@echo 'make tidy       clang-tidy over every compiled file (an hour); needs clang-tidy'
	@echo 'make install    into PREFIX ($(PREFIX)); below DESTDIR, if given'
	@echo 'make uninstall  what install put there'
	@echo 'make dist       an archive and a Python wheel for any x86-64 Linux, into dist/'

bootstrap:
	@scripts/bootstrap --jobs $(JOBS)

build: bootstrap
	@scripts/build release heed

run: build
	@$(BINARY) pull smollm2:135m
	@scripts/demo

test: bootstrap
	@scripts/build release
	@ctest --preset release --label-exclude full

test-full: bootstrap
	@scripts/test-full

bench: build
	@scripts/bootstrap --jobs $(JOBS) --llama-bench
	@scripts/bootstrap --jobs $(JOBS) --isa avx2
	@scripts/build avx2 heed
	@scripts/bench

mechanism:
	@scripts/mechanism '$(NAME)' '$(STAGE)'

mechanisms: build
	@$(BINARY) mechanisms -o markdown > docs/mechanisms.md

asan tsan: bootstrap
	@scripts/build $@
	@ctest --preset $@ --label-exclude full

fuzz: bootstrap
	@scripts/fuzz

# Tools that no build needs.
needs-%:
	@command -v $* >/dev/null || { echo '$* is missing: apt-get install $*' >&2; exit 1; }

format: needs-clang-format
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

tidy: needs-clang-tidy bootstrap
	@cmake --preset release --log-level=WARNING >/dev/null
	@run-clang-tidy -quiet -p build/release -j $(JOBS) '^$(CURDIR)/(src|tests|bench|fuzz)/'

install: build
	@scripts/build release heed_documents heed_c
	@cmake --install build/release --prefix '$(PREFIX)'

uninstall:
	@scripts/uninstall '$(PREFIX)'

dist: bootstrap
	@scripts/bootstrap --jobs $(JOBS) --isa portable
	@scripts/build dist heed heed_documents
	@scripts/dist

clean:
	@cmake -E rm -rf build
