# `make` alone says what there is.

CARGO ?= cargo

.PHONY: help demo build test lint fmt

help:
	@echo 'make demo   real alerts of four IDS programs through both programs into a new database, in ./demo'
	@echo 'make build  target/release/sockserv, servsock, drop, alert'
	@echo 'make test   all tests; installs a C compiler, PostgreSQL and a test mail server if they are missing'
	@echo 'make lint   formatting and clippy'
	@echo 'make fmt    formats the source'

# SQLite is compiled in, so a C compiler must be there. A debug build: it takes a third of the time of a release build.
demo:
	@tests/install-needs cc
	@$(CARGO) build --bins --example demo
	@$(CARGO) run --quiet --example demo

build:
	@tests/install-needs cc
	$(CARGO) build --release --bins

# Debug builds: assertions and overflow checks are a part of the tests.
test:
	@tests/install-needs cc postgresql smtp
	$(CARGO) test
	@tests/demo-twice $(CARGO)

lint:
	@tests/install-needs cc
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fmt:
	$(CARGO) fmt
