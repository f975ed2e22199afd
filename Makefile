# The front door for people and machines. The work is in `cargo xtask`; this file installs what cargo cannot.

# rustup may have put cargo where only a login shell looks.
export PATH := $(PATH):$(HOME)/.cargo/bin

XTASK := cargo xtask

.DEFAULT_GOAL := help
.PHONY: help deps test demo check fix bench clean

help:
	@echo 'make test    what CI runs: install what is missing, every check, every test'
	@echo 'make demo    Lentic at work: three nodes, a month of flights, kill -9, stream jobs'
	@echo 'make check   the fast checks, read-only (no RocksDB)'
	@echo 'make fix     format, apply suggestions, regenerate'
	@echo 'make bench   list the benchmarks; make bench NAME=engine runs one'
	@echo 'make deps    install what a Debian machine with Rust lacks'
	@echo 'make clean   remove what was built'

deps:
	@xtask/deps.sh

# --locked: a lock file that was not committed with its manifest is an error here, not a silent update.
test: deps
	cargo --locked xtask ci

demo: deps
	$(XTASK) demo

check:
	$(XTASK) check

fix:
	$(XTASK) fix

bench: deps
	$(XTASK) bench $(NAME)

clean:
	cargo clean
