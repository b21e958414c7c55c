# Two commands set up a fresh machine that has Go: `make demo` and `make test`.

GO      ?= go
BIN     := bin
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags '-s -w'
SOURCES := $(shell find . -name '*.go' -not -path './bench/*' -not -path './devvault/*' -not -path './tools/*' -not -path './e2e/*') go.mod go.sum
# The race detector needs cgo and a C compiler; without one the tests still run.
RACE    := $(if $(shell command -v gcc),-race)
FUZZTIME ?= 5s

.PHONY: build install cross demo demo-vault test test-long chaos e2e-kubernetes check lint bench figures instructions instructions-write vault peers fuzz supply sbom licences weigh clean

build: $(BIN)/secretboot

$(BIN)/secretboot: $(SOURCES)
	$(BUILD) -o $@ .

# The binary, the licences of what is linked into it, its manual page and what shells complete.
PREFIX ?= /usr/local

install: build
	install -D -m 755 $(BIN)/secretboot $(DESTDIR)$(PREFIX)/bin/secretboot
	install -D -m 644 docs/man/secretboot.1 $(DESTDIR)$(PREFIX)/share/man/man1/secretboot.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/secretboot LICENSE THIRD_PARTY_LICENSES
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BIN)/secretboot completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/secretboot
	$(BIN)/secretboot completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_secretboot
	$(BIN)/secretboot completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/secretboot.fish

# One binary for each platform of the image.
PLATFORMS := amd64 arm64

cross: $(PLATFORMS:%=$(BIN)/linux-%/secretboot)

$(BIN)/linux-%/secretboot: $(SOURCES)
	GOOS=linux GOARCH=$* $(BUILD) -o $@ .

# The main job on an embedded development source: needs only Go.
demo: build
	@sh examples/quickstart/demo.sh $(BIN)/secretboot

# The same on a real Vault: `vault` or `bao` on PATH, else the one we build.
demo-vault: build
	@command -v vault >/dev/null || command -v bao >/dev/null || $(MAKE) --no-print-directory $(BIN)/vault
	@PATH="$$PATH:$(CURDIR)/$(BIN)" sh examples/quickstart/demo-vault.sh $(BIN)/secretboot

VAULT_PLUGINS := $(addprefix $(BIN)/plugins/,kubernetes postgresql-database-plugin totp ldap aws)
VAULT_BUILD   := cd devvault && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w'

vault: $(BIN)/vault $(VAULT_PLUGINS)

$(BIN)/vault: devvault/go.mod devvault/go.sum
	@echo 'building the Vault server for the tests: 2 to 8 minutes, this once' >&2
	$(VAULT_BUILD) -tags minimal -o ../$@ github.com/hashicorp/vault

# The plugins come after the server, whose packages they share; with -dev-plugin-dir=bin/plugins.
$(BIN)/plugins/kubernetes: PLUGIN := vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes
$(BIN)/plugins/postgresql-database-plugin: PLUGIN := vault/plugins/database/postgresql/postgresql-database-plugin
$(BIN)/plugins/totp: PLUGIN := vault/builtin/logical/totp/cmd/totp
$(BIN)/plugins/ldap: PLUGIN := vault/builtin/credential/ldap/cmd/ldap
$(BIN)/plugins/aws: PLUGIN := vault/builtin/credential/aws/cmd/aws

$(VAULT_PLUGINS): $(BIN)/vault
	$(VAULT_BUILD) -o ../$@ github.com/hashicorp/$(PLUGIN)

# What ours is compared with, byte by byte.
peers: $(BIN)/consul-template

$(BIN)/consul-template: bench/go.mod bench/go.sum
	cd bench && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o ../$@ github.com/hashicorp/consul-template

test: build vault peers check
	$(GO) test $(RACE) -shuffle=on -parallel 8 -timeout 20m ./...
	cd bench && $(GO) vet ./... && $(GO) test ./...

# The examples for Kubernetes on a real cluster, in namespaces of its own: needs root and, from Debian, runc, iptables and
# containernetworking-plugins. Kubernetes and containerd are built from their Go modules, which takes 11 minutes with two
# cores. What was built is kept outside of the checkout, under the sum of what it was made of.
CACHE      := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/secretboot
made_of     = $(shell cd e2e/kubernetes && cat $(1) | sha256sum | cut -c1-16)
K8S        := $(CACHE)/kubernetes-$(call made_of,go.mod go.sum cluster/main.go)/k8s
CONTAINERD := $(CACHE)/containerd-$(call made_of,containerd/go.mod containerd/go.sum)

e2e-kubernetes: build vault $(K8S) $(CONTAINERD)
	ln -sfn $(K8S) $(BIN)/k8s
	ln -sfn $(CONTAINERD) $(BIN)/containerd
	cd e2e/kubernetes && $(GO) vet . ./testdata/shop && $(GO) test -count=1 -parallel 8 -timeout 15m .

$(K8S):
	@echo 'building Kubernetes for the tests: 3 to 11 minutes, this once' >&2
	mkdir -p $(@D)
	cd e2e/kubernetes && version=$$($(GO) list -m -f '{{.Version}}' k8s.io/kubernetes) && \
	  CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o $@.part ./cluster
	mv $@.part $@

$(CONTAINERD):
	mkdir -p $@.part
	cd e2e/kubernetes/containerd && CGO_ENABLED=0 $(GO) build -trimpath -tags no_btrfs,no_devmapper,no_zfs -ldflags '-s -w' -o $@.part/ tool
	mv $@.part $@

# What runs in seconds and needs no server.
check:
	@unformatted=$$($(GO) tool -modfile=tools/go.mod gofumpt -l $$(git ls-files "*.go")); test -z "$$unformatted" || { echo "run gofumpt on $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	cd tools && $(GO) run ./licences -check ../THIRD_PARTY_LICENSES

# What is linked, with the licences, which go wherever the binary goes.
licences:
	cd tools && $(GO) run ./licences ../THIRD_PARTY_LICENSES

# The components of the binary, for whoever looks for vulnerable ones later (CycloneDX).
sbom: build
	$(GO) tool -modfile=tools/go.mod cyclonedx-gomod bin -json -std -noserial -notimestamp -output $(BIN)/secretboot.cdx.json $(BIN)/secretboot

# What each module costs in the binary, in KiB.
weigh:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/secretboot-symbols .
	cd tools && $(GO) run ./weigh ../$(BIN)/secretboot-symbols

# What we have from others: docs/dependencies.md. Of all checks only the vulnerabilities
# need the network, see .ci/vulnerabilities.
supply:
	cd tools && $(GO) vet ./... && $(GO) test -count=1 ./...
	sh .ci/vulnerabilities ./...

# golangci-lint is heavy: it is used where it is installed, see .golangci.yml.
lint:
	golangci-lint run

bench: build vault
	cd bench && $(GO) build -o ../$(BIN)/bench . && ../$(BIN)/bench $(BENCHFLAGS)

# Measures everything and writes it into the pages that tell it: half an hour, on a machine that does nothing else.
figures: build vault
	cd bench && $(GO) build -o ../$(BIN)/bench .
	cd bench && ../$(BIN)/bench -runs 3 -start 51 -into ../docs/benchmarks.md
	cd bench && ../$(BIN)/bench -idle 4m -secrets 100 -into ../docs/benchmarks.md
	cd bench && ../$(BIN)/bench -scale 500 -into ../docs/scale.md

# What a few fixed runs take in instructions, as ratios: a fifth more than was last
# committed fails. The second writes what is committed.
INSTRUCTIONS := cd bench/instructions && $(GO) build -trimpath -o ../../$(BIN)/ ./reference && $(GO) run .

instructions: build
	$(INSTRUCTIONS)

instructions-write: build
	$(INSTRUCTIONS) -write

fuzz:
	GO='$(GO)' sh .ci/fuzz $(FUZZTIME)

test-long: test
	VOLUME_TEST_LONG=1 $(GO) test -count=1 -run "Killed|Swap|AsPlainUser" ./volume
	PROCESS_TEST_LONG=1 $(GO) test -count=1 -run "ManyRuns" ./process
	DOCKER_TEST_LONG=1 $(GO) test -count=1 -timeout 60m ./e2e/container
	SOAK_TEST_TIME=5m $(GO) test -count=1 -timeout 20m -run "^TestSoak$$" .
	$(MAKE) fuzz FUZZTIME=60s
	GO='$(GO)' TARGET=FuzzMask sh .ci/fuzz 10m ./process/mask

# Everything that can go wrong, and what comes of it, into docs/reliability.md: needs root and strace. With a regular
# expression, such as CHAOS='Hosts|Signals', only those axes run and nothing is written.
CHAOS ?= 1

chaos: build vault
	CHAOS_TEST='$(CHAOS)' $(GO) test -count=1 -timeout 60m -run "^TestChaos$$" .

clean:
	rm -rf $(BIN)
