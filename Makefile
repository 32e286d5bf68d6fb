# isulad-tools. `make help` lists what can be asked for.

SHELL := /bin/bash
.DELETE_ON_ERROR:
# But for the parts of `make test`.
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif

# A bare root shell often lacks Go's folder, su without "-" the sbin ones, and a
# service has no HOME, which Go's caches need.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME := $(or $(HOME),/root)
GO := $(or $(shell PATH="$(PATH)" command -v go),go)

# What `isulad-tools --version` says. A fixed abbreviation: git's own length
# depends on the clone, and two clones of a commit must give the same bytes.
VERSION := $(or $(VERSION),$(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null),devel)

# Everything that could make two builds of one commit differ is pinned here, and
# by go.mod's versions. urfave_cli_no_docs drops a documentation generator that
# costs every start.
TAGS    := urfave_cli_no_docs
HERMETIC := CGO_ENABLED=0 GOOS=linux GOFLAGS= GOEXPERIMENT= GOFIPS140=off GOAMD64=v1 GOARM64=v8.0
BUILD   := $(GO) build -trimpath -buildvcs=false -tags $(TAGS) -ldflags "-s -w -X main.version=$(VERSION)"

# What is looked at, though only built inside the VM.
LOOK_AT := $(TAGS),vmguest

TOOL  := $(GO) tool -modfile=hack/tools.mod
STAGE := hack/stage
# Built as what ships is, from any folder, so that each package is compiled but once;
# `make vet` looks at all of it.
TEST  := $(GO) test -trimpath -vet=off -tags $(TAGS)

BINARY := bin/isulad-tools

.PHONY: build
build: ## bin/isulad-tools, the one static executable (the default)
	$(HERMETIC) $(BUILD) -o $(BINARY) ./cmd/isulad-tools

# The packages whose tests stand alone, and units, which tests the rest of them as
# root; the others below integration/ need the built binary, runc or a VM.
UNIT   = $$($(GO) list -tags $(TAGS) ./... | awk '!/\/integration\// || /\/integration\/units$$/')
WORLDS = $$($(GO) list -tags $(TAGS) ./integration/... | grep -v -E '/integration/(units|fault|vm)$$')

# A missing prerequisite fails a test instead of skipping it. CI= make test skips.
CI ?= true
ENV = env CI=$(CI) CGO_ENABLED=0 ISULAD_TOOLS_BIN="$(CURDIR)/$(BINARY)"

# What each step took: .ci/run has a file of its own.
export STAGES ?= $(CURDIR)/bin/times

.PHONY: test
ifdef PKG
test: deps build $(if $(findstring integration/vm,$(PKG)),vm-image)
	$(ENV) $(TEST) -count=1 -timeout 60m -run '$(RUN)' $(PKG)
else
test: fresh deps build vm-image ## everything: unit, recorded cases, real runc, VM, kill and fault loops, arm64. PKG=./devices/... RUN=Regexp: a part
	$(MAKE) SIDE_BY_SIDE=1 --jobs --keep-going --output-sync $(PARTS)
	@$(if $(CI_RUN),,$(STAGE) summary)
endif

# Side by side the parts keep two cores busy to the end: the loops mostly wait until
# the kernel lets go of containers and links. The machines take longest: what only
# computes takes what they leave.
PARTS = machines loops wires kernels worlds race cross
LATER = $(if $(SIDE_BY_SIDE),nice -n 5)

.PHONY: machines loops wires kernels worlds
machines:
	$(STAGE) machines 900 $(ENV) $(TEST) -count=1 -timeout 60m ./integration/vm
loops:
	$(STAGE) loops 1000 $(ENV) $(TEST) -count=1 -timeout 60m -skip '$(WIRED)' ./integration/fault
wires:
	$(STAGE) wires 1000 $(ENV) $(TEST) -count=1 -timeout 60m -run '$(WIRED)' ./integration/fault
WIRED = Network|Wires
worlds:
	$(LATER) $(STAGE) worlds 900 $(ENV) $(TEST) -count=1 -p 4 -timeout 60m $(WORLDS)
# The units again, without the system calls that older kernels lack.
kernels:
	$(LATER) $(STAGE) kernels 600 $(ENV) $(TEST) -count=1 -timeout 20m -run '$(OLDER)' ./integration/units
OLDER = TestAgainOnOlderKernels

.PHONY: fresh
fresh: ## forget how long the steps of the last run took
	@$(if $(CI_RUN),,mkdir -p bin && rm -f "$(STAGES)")

.PHONY: test-follow
test-follow: deps build vm-image ## 20 rounds of devices that come and go, in VMs with cgroup v1 and v2
	$(ENV) GUEST_RUN='$(or $(GUEST_RUN),^Test(Systemd)?Follow)' FOLLOW_ROUNDS=$(or $(FOLLOW_ROUNDS),20) $(TEST) -count=1 -v -timeout 240m -run 'TestMachines/(systemd|cgroup_v1)' ./integration/vm

.PHONY: test-operator
test-operator: deps build vm-image ## the same on a host like an operator's: installed, and iSulad at work
	hack/operator-host $(MAKE) test

# Of the recorded cases those of one name, of the containers one.
ELSEWHERE = TestGolden/syscontainer-tools|TestScenario/(v2|5.10|4.19)|TestScenario/v1/(runc-userns|lcr)|TestEverythingAtOnce|$(OLDER)

# Tests that wait for what never answers, most of their time.
PATIENT = Holds(Nothing|Nobody)Up|KeptWaiting

.PHONY: quick quick-work quick-wait
quick: build format vet ## the inner loop: format, vet, unit tests, recorded cases, a real container; 90 s, no VM
	$(MAKE) SIDE_BY_SIDE=1 --jobs --keep-going --output-sync quick-work quick-wait
quick-work:
	$(STAGE) quick 90 $(ENV) $(TEST) -p 4 -skip '$(ELSEWHERE)|$(PATIENT)' $(UNIT) ./integration/golden ./integration/scenario
quick-wait:
	$(STAGE) quick-wait 90 $(ENV) $(TEST) -run '$(PATIENT)' ./integration/units

.PHONY: check
check: deps format vet staticcheck deadcode tidy $(if $(filter test,$(MAKECMDGOALS)),,race) ## formatting, vet, staticcheck, dead code, go.mod, unit tests with the race detector

# Its steps; `make -k check` shows what all of them have to say.
.PHONY: format vet staticcheck deadcode tidy race
format:
	$(STAGE) --silent format 120 $(TOOL) gofumpt -l .
vet:
	$(STAGE) vet 180 $(GO) vet -tags $(LOOK_AT) ./...
staticcheck:
	$(STAGE) staticcheck 300 $(TOOL) staticcheck -tags $(LOOK_AT) ./...
# First everything, tests being users too; then what ships: there a function
# that only tests call is dead as well.
deadcode:
	$(STAGE) --silent deadcode 180 $(TOOL) deadcode -tags $(LOOK_AT) -test ./...
	$(STAGE) --silent deadcode-ship 120 $(TOOL) deadcode -tags $(TAGS) ./cmd/isulad-tools
tidy:
	$(STAGE) tidy 60 $(GO) mod tidy -diff
race: build
	$(LATER) $(STAGE) race 600 $(ENV) CGO_ENABLED=1 $(TEST) -race -p 4 -timeout 20m -skip '$(OLDER)' $(UNIT)

# Run under user-mode emulation, where a program cannot execute itself again: the
# packages whose tests need no world of their own.
PORTABLE = $$($(GO) list -tags $(TAGS) -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | \
	grep -v -E '/integration/sandbox|^isula.org/isulad-tools/((integration|hack)/|internal/command )' | cut -d' ' -f1)
EMULATOR = $(if $(filter aarch64,$(shell uname -m)),,-exec qemu-aarch64)

.PHONY: cross
cross: ## the same for arm64, with the unit tests under user-mode emulation
	hack/packages build cross
	$(LATER) $(STAGE) build-arm64 180 env $(HERMETIC) GOARCH=arm64 $(BUILD) -o $(BINARY).arm64 ./cmd/isulad-tools
	$(LATER) $(STAGE) vet-arm64 180 env CGO_ENABLED=0 GOARCH=arm64 $(GO) vet -tags $(TAGS) ./...
	$(LATER) $(STAGE) test-arm64 600 env CGO_ENABLED=0 GOARCH=arm64 $(TEST) -short -timeout 20m $(EMULATOR) $(PORTABLE)

.PHONY: bench
bench: deps build ## start-up, devices and binds against the bare system calls
	ISULAD_TOOLS_BIN="$(CURDIR)/$(BINARY)" $(TEST) -run '^$$' -bench . -timeout 30m ./integration/bench

.PHONY: demo
demo: build ## a real container with modules, a device and paths, on this machine; it leaves nothing behind
	hack/packages build demo
	hack/demo

.PHONY: demo-vm
demo-vm: build vm-image ## the same on a stock Debian kernel in a VM
	hack/vm/demo

.PHONY: vm-image
vm-image: ## the VM's image, from Debian packages (once)
	hack/packages build test
	$(STAGE) vm-image 300 hack/vm/build

.PHONY: deps
deps: ## install the packages that the tests need
	hack/packages build check test

.PHONY: install
install: build ## install program, hook and hook specs: DESTDIR= for a package, GRAPH= if iSulad's root dir is elsewhere
	$(BINARY) install --root "$(DESTDIR)" --graph "$(GRAPH)"

.PHONY: uninstall
uninstall: build ## remove the installed files and restore those that they replaced
	$(BINARY) uninstall --root "$(DESTDIR)" --graph "$(GRAPH)"

PACKAGES := bin/packages
ARCHES   := amd64 arm64

.PHONY: packages
packages: ## bin/packages/: deb and rpm, for amd64 and arm64
	rm -rf $(PACKAGES)
	for arch in $(ARCHES); do \
		env $(HERMETIC) GOARCH=$$arch $(BUILD) -o $(PACKAGES)/isulad-tools.$$arch ./cmd/isulad-tools || exit; \
	done
	env $(HERMETIC) packaging/build $(PACKAGES) $(ARCHES)

.PHONY: clean
clean: ## remove bin/ (the VM's image stays in its cache)
	rm -rf bin

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
