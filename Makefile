# The targets that people need; `make help` lists them.

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
TESTFLAGS   ?=
TIMEOUT     ?= 30m
ATONCE      ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 ))) # packages: they wait as much as they compute
SOAKTIMEOUT ?= 4h
FUZZTIME    ?= 3m
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# A program with the race detector waits a second at its end, for what still runs
# to be told of; a hundredth is enough, and there are some hundred programs.
export GORACE ?= atexit_sleep_ms=10

.DEFAULT_GOAL := build
.PHONY: help build run test soak bench bench-files lint fmt peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

build: ## bin/ebbgate: static, version stamped
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ebbgate ./cmd/ebbgate

run: build ## the demo: gateway, sandbox cloud and 20 devices on this machine
	bin/ebbgate demo

# What needs no race detector is compiled once, without cgo as the program is that some
# tests build; and vetted once.
test: fmt peers ## format, vet, and all tests with the race detector (under 10 minutes)
	CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 go test -count=1 -vet=off -v -run '^TestSpeedsAgree$$' ./policy # 200,000 triples: without -race
	CGO_ENABLED=0 go test -count=1 -vet=off -run '^Test(PolicyCases|Desk|Mutations)$$' ./policy # every case: without -race
	CGO_ENABLED=1 go test -race -count=1 -vet=off -p $(ATONCE) -timeout $(TIMEOUT) $(TESTFLAGS) ./...

soak: fmt peers ## the long tests: power cuts, backlogs of a million, minutes of fuzzing a target
	EBBGATE_SOAK=1 go test -count=1 -timeout $(SOAKTIMEOUT) $(TESTFLAGS) ./...
	FUZZTIME=$(FUZZTIME) .ci/fuzz

bench: peers ## measure beside mosquitto, print a table
	go run ./internal/bench

bench-files: peers ## the same for files: an hour, and 200 GB written
	go run ./internal/bench --only file

lint: ## golangci-lint (import rules included) and govulncheck, at pinned versions
	go run $(GOLANGCI) run
	go run $(GOVULNCHECK) ./...

fmt: ## fail when gofmt would change a file
	@out=$$(gofmt -l $$(find . -name '*.go' -not -path './bin/*')); \
	if [ -n "$$out" ]; then echo "not formatted (run gofmt -w):"; echo "$$out"; exit 1; fi

peers: ## install what the tests need of Debian's packages (root only), or say what is missing
	@.ci/peers

clean: ## remove what build made
	rm -rf bin
