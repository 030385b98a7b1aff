# SPDX-License-Identifier: GPL-2.0-only

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help test measure test-full long-runs soak kcsan mutations measure-full kernel tests lint series guests boot-guest \
	deb docs rebase-check tree-git import bisect cross report readme setup clean
MAKEFLAGS += --no-print-directory

TREE ?= build/tree-git/linux

help:			## this list
	@echo "Huge PFNMAP series on Linux: the two commands are"
	@echo
	@grep -hE '^(measure|test):.*##' Makefile | sed -E 's/:.*##/\t/; s/^/  make /' | expand -t 22
	@echo
	@echo "Other commands:"
	@echo
	@grep -hE '^[a-z-]+:.*##' Makefile | grep -vE '^(measure|test):' | sed -E 's/:.*##/\t/; s/^/  make /' | expand -t 22

measure: kernel tests	## stock beside series: NPT levels, faults, instructions, page tables
	@harness/measure

test: lint kernel	## lint, tests of the tools, and all tests that take minutes, in VMs
	@harness/test

measure-full: kernel tests ## measure, and BARs up to 1 TiB, guests with 128 GiB and 1 to 8 devices
	@harness/measure full

test-full: test mutations ## make test, other machines, interruptions, every prefix, packages, README
	@harness/kernel stock+ptcheck
	@harness/tests
	@harness/vm --resume @matrix @full
	@harness/kernel stock+upstream
	@harness/kernel series+upstream
	@harness/upstream
	@harness/interrupt
	@harness/bisect
	@harness/cross
	@harness/docs
	@harness/deb-test
	@README_RUN=1 /usr/bin/python3 -B harness/test_commands.py

long-runs: test-full kcsan soak ## run what takes hours, then write long-runs.md
	@harness/long-runs
	@harness/long-runs --check

kcsan: tests		## data races that stock does not have, on kernels with KCSAN
	@harness/kernel stock+kcsan
	@harness/kernel series+kcsan
	@harness/kcsan

soak: tests		## hours of races under memory pressure, most on the debug kernel
	@harness/kernel series+debug
	@harness/vm --resume @soak

mutations: kernel	## break the series on purpose: its tests must fail
	@harness/kernel series+debug
	@harness/tests
	@harness/mutate

kernel: setup		## build/stock/bzImage and build/series/bzImage
	@harness/kernel stock
	@harness/kernel series

tests: kernel		## the selftests and measuring programs, in build/tests
	@harness/tests

lint: setup		## checkpatch, shellcheck, round trip of the series
	@harness/lint

series: setup		## ready to post, for git am: build/post/N-PART.mbox (PART=fixes for one)
	@harness/long-runs --check || :	# to remind whoever posts
	@grep -q "series $$(harness/series prefixes | awk 'END { print $$2 }')," README.md || \
		echo "README.md: its table is of another series: make measure readme"
	@harness/post --base "$$(harness/base)" $(if $(PART),--part $(PART)) -o build/post

deb: setup		## Debian packages for a host: CONFIG_FROM=/boot/config-...
	@harness/deb

docs: setup		## the pages in Documentation/, in build/docs; warnings are errors
	@harness/docs

rebase-check: setup	## does the series apply to the newest kernel of its release, or to NEWER=path?
	@harness/rebase-check $(NEWER)

tree-git: setup		## a git tree of base and series to work in: TREE=path
	@harness/tree-git "$(TREE)"

import: setup		## turn the commits of TREE back into patches and files
	@harness/series import "$(TREE)"

bisect: tests		## build, boot and test every prefix of the series
	@harness/bisect $(PART)

cross: setup		## compile what the series touches for other architectures
	@harness/cross

boot-guest: tests	## a shell in a guest that has a PCI device passed through
	@harness/guest/stage
	@harness/boot-guest

guests: tests		## passthrough guests under QEMU 7.2 and 10, on both kernels
	@harness/guest/stage
	@harness/vm --kernel stock @guest
	@harness/vm --kernel series @guest

report: setup		## the table and the page again, from build/report/results.json
	@bench/report --out build/report

readme:			## table and picture of README.md, from build/report/results.json
	@bench/readme build/report/results.json README.md bench/results.svg

setup:			## install the Debian packages that are missing
	@harness/setup

clean:			## remove build/ but for build/tree-git; the base source and ccache stay in the cache
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name tree-git -exec rm -rf {} +
