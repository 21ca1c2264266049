# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Every path here is relative: make cannot handle one with a blank in it.

PYTHON ?= python3
export PYTHON

.PHONY: help setup demo demo-down test test-long lint unit integration system scenarios benchmark clean

help:
	@echo 'make demo         promote an example organization from dev to staging on this machine; demo-down ends it'
	@echo 'make setup        make .venv and link the collection, so that ansible-playbook works from this clone'
	@echo 'make test         every test; lint, unit, integration, system, scenarios and benchmark run their part'
	@echo 'make test-long    the system tests with every point, sequence and seed of the table of guarantees'
	@echo 'make clean        remove what the other targets made (not the running demo: see demo-down)'

setup:
	@tools/setup

demo: setup
	@.venv/bin/python tools/demo.py up

demo-down: setup
	@.venv/bin/python tools/demo.py down

test lint unit integration system scenarios benchmark:
	@tools/setup dev
	@.venv/bin/python tests/run $@

test-long:
	@tools/setup dev
	@TETRA_LONG=1 .venv/bin/python tests/run system

clean:
	@tools/clean
