# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Each does its own set-up; nothing need be installed first but Go, make and a Debian-like system.

SHELL := /bin/bash
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
SHARE = $(DESTDIR)$(PREFIX)/share
DROPIN = $(DESTDIR)$(SYSCONFDIR)/containerd/conf.d/foundry.toml
export FOUNDRY_CACHE ?= $(HOME)/.cache/foundry
# In the order of installation: what others execute comes first.
PROGRAMS := foundry-delete foundryd containerd-shim-foundry-v1 foundry
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w"

.DEFAULT_GOAL := help
.PHONY: help setup demo build install uninstall test test-unit test-root test-matrix test-net test-cri test-guest suite-client bench bench-net lint generate verify-generate clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: apt packages, containerd and ctr (below FOUNDRY_CACHE)
	@scripts/setup.sh

demo: setup build ## Show containers on a private containerd, then take it away
	@scripts/demo.sh

build: ## Build the static programs into bin/
	@mkdir -p bin
	@for p in $(PROGRAMS); do $(GOBUILD) -o bin/$$p ./cmd/$$p || exit 1; done

install: build ## Install programs and manuals below PREFIX, and the handler `foundry` into containerd's conf.d (as root)
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man8 $(SHARE)/foundry/containerd $(SHARE)/foundry/kubernetes $(dir $(DROPIN))
	install $(PROGRAMS:%=bin/%) $(DESTDIR)$(PREFIX)/bin
	install -m 644 dist/man/*.8 $(SHARE)/man/man8
	install -m 644 dist/containerd/*.toml $(SHARE)/foundry/containerd
	install -m 644 dist/kubernetes/*.yaml $(SHARE)/foundry/kubernetes
	install -m 644 dist/containerd/foundry.toml $(DROPIN)

uninstall: ## Remove what `make install` installed; containers that run go on (as root)
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%) $(patsubst dist/man/%,$(SHARE)/man/man8/%,$(wildcard dist/man/*.8)) $(DROPIN)
	rm -rf $(SHARE)/foundry

test: ## Everything: lint, unit, root, containerd's suite, guests, benches (about half an hour on two cores)
	@scripts/test.sh

test-unit: ## Unit tests; as root also those that make cgroups, mounts and processes
	@scripts/test.sh unit

test-root: ## Stories on a private containerd (as root)
	@scripts/test.sh root

test-matrix: ## The same specs by runc and by Foundry: the program must see the same (as root)
	@scripts/test.sh matrix

test-net: ## The data plane between hosts made of network namespaces, by real frames; SHORT=1 for a quick run (as root)
	@scripts/test.sh net

test-cri: ## Pods and containers as a kubelet asks for them, through containerd's CRI plugin (as root)
	@scripts/test.sh cri

test-guest: ## The runtime and stories on cgroup v2, in a user-mode Linux guest and on a stock Debian kernel (as root)
	@scripts/test.sh guest

suite-client: ## containerd's own client suite with this runtime (as root)
	@scripts/test.sh suite

bench: setup build ## Foundry beside runc v2, an empty shim and the kernel's floor (as root)
	@scripts/bench.sh

bench-net: setup ## Ways between two containers: the kernel's and Foundry's, into docs/bench/network.md (as root)
	@scripts/bench-net.sh

lint: ## gofmt, go vet, golangci-lint
	@scripts/lint.sh

generate: ## Make anew what is generated and committed: the spawner, tables
	@go generate ./datapath/agent/api # others are built with it
	@go generate ./...

verify-generate: ## Check that what is committed is what `make generate` makes
	@scripts/verify-generate.sh

clean: ## Remove build output
	rm -rf bin
