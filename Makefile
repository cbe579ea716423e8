# `make` alone says what there is.

CARGO ?= cargo
PREFIX ?= /usr/local
# init scripts and logcheck look nowhere else.
SYSCONFDIR ?= /etc
DESTDIR ?=

PROGRAMS := sockserv servsock drop alert
PROGRAMS_IN := target/release
# What the generator makes: a tree that is copied as it is.
TREE := target/dist
SOURCES := $(shell find src -type f) Cargo.toml Cargo.lock
PROSE := $(wildcard README*) $(shell find examples/generate man dist -type f)

# Each feature has its own build, so that what was built for use stays as it is.
BENCH := --features null-store --target-dir target/bench

.PHONY: help bench bench-quick demo build man install uninstall deb test test-deb torture torture-broken fuzz lint fmt

help:
	@echo 'make demo   real alerts of four IDS programs through both programs into a new database, in ./demo'
	@echo 'make build  target/release/sockserv, servsock, drop, alert'
	@echo 'make install    programs, manual pages, units and the like below PREFIX, as root; see README.md'
	@echo 'make uninstall  takes that away again, but for the configuration'
	@echo 'make man    only makes the tree that install copies, in target/dist'
	@echo 'make deb    a Debian package, in target/deb'
	@echo 'make test-deb   installs, starts and purges the package in a new chroot; as root'
	@echo 'make test   all tests; installs a C compiler, PostgreSQL and a test mail server if they are missing'
	@echo 'make torture    ROUNDS=1000 rounds of real programs with faults at random; SEED= plays one again'
	@echo 'make torture-broken  shows that torture finds promises that are broken on purpose'
	@echo 'make bench  how fast it is: a table in a quarter of an hour, best on an idle machine; bench-quick takes 2 minutes'
	@echo 'make lint   formatting and clippy'
	@echo 'make fmt    formats the source'
	@echo 'make fuzz   each fuzzer for TIME=600 seconds; TARGET="ids wire" only these; see README.debug'

# SQLite is compiled in, so a C compiler must be there. A debug build: it takes a third of the time of a release build.
demo:
	@tests/install-needs cc
	@$(CARGO) build --bins --example demo
	@$(CARGO) run --quiet --example demo

build:
	@tests/install-needs cc
	$(CARGO) build --release --bins

# For install, which root may run without cargo: what is there and not older than its sources is taken.
$(PROGRAMS_IN)/sockserv: $(SOURCES)
	@$(MAKE) build
	@touch $@

man: $(TREE)

# The places are in the pages, so other ones make another tree.
PLACES := $(PREFIX) $(SYSCONFDIR)
ifneq ($(PLACES),$(shell cat $(TREE)/.places 2>/dev/null))
.PHONY: $(TREE)
endif
$(TREE): $(SOURCES) $(PROSE)
	@tests/install-needs cc
	rm -rf $@
	$(CARGO) run --release --quiet --example generate -- $@ $(PLACES)
	@echo $(PLACES) >$@/.places

install: $(PROGRAMS_IN)/sockserv $(TREE)
	dist/install '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)' $(TREE) $(PROGRAMS:%=$(PROGRAMS_IN)/%)

uninstall: $(TREE)
	dist/uninstall '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)' $(TREE) $(PROGRAMS)

deb:
	@tests/install-needs cc
	$(MAKE) PREFIX=/usr SYSCONFDIR=/etc $(PROGRAMS_IN)/sockserv man
	dist/build-deb target/deb $(TREE) $(PROGRAMS:%=$(PROGRAMS_IN)/%)

test-deb: deb
	tests/deb-in-chroot target/deb/flop_*.deb

# Debug builds: assertions and overflow checks are a part of the tests.
test:
	@tests/install-needs cc postgresql smtp mandoc systemd
	$(CARGO) test
	@tests/demo-twice $(CARGO)

# MINUTES, LANES and FAULTS narrow it: see tests/torture/main.rs. As root it fills disks, too.
ROUNDS ?= 1000
SEED ?= $(shell date +%s)
torture:
	@tests/install-needs cc postgresql
	ROUNDS=$(ROUNDS) SEED=$(SEED) $(CARGO) test --test torture -- --nocapture nothing_is_lost

# A place of its own: a program that breaks promises never lies where a good one is looked for.
torture-broken:
	@tests/install-needs cc postgresql
	$(CARGO) test --features broken-promises --target-dir target/broken --test torture -- a_promise

lint:
	@tests/install-needs cc
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fmt:
	$(CARGO) fmt

TIME ?= 600
# All where none is named.
TARGET ?=
fuzz:
	@fuzz/run '$(CARGO)' '$(TIME)' $(TARGET)

# The table, also as JSON in target/speed.json.
bench bench-quick:
	@tests/install-needs cc postgresql
	$(CARGO) bench $(BENCH) --bench speed -- $(if $(findstring quick,$@),quick,full)
