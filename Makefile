# Thin on purpose: the chores are in xtask. These targets only make sure that cargo and a host linker are there.

# rustup's default place, for shells that were open before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

CHORES := setup build dist demo test bench bench-hunt bench-store bench-fleet report-test service-test fuzz lint
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.DEFAULT_GOAL := help
.PHONY: $(CHORES) clean help

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install and fetch everything that the other targets need
build: ## Build the daemon, a static release binary
dist: ## Make the packages: tar archive, .deb, .rpm
demo: ## Show the daemon at work in a virtual machine
test: ## Test on this machine and on four kernels
bench: ## Count what the daemon costs other processes, in guest instructions, and how long documents take
bench-hunt: ## Compare the hunt's speed with DuckDB's
report-test: ## Try the hunt's report in a browser
bench-store: ## Measure the prevalence store of a host
bench-fleet: ## Let ten thousand hosts install a kernel package, with one Redis
service-test: ## Install the package on a real Debian, and try the service there
fuzz: ## Give readers of hostile bytes what a fuzzer makes up
lint: ## Check format, clippy, dependencies, spelling

# More arguments go through ARGS: make test ARGS='--kernel 6.1'
$(CHORES): target/toolchain
	@cargo xtask $@ $(ARGS)

clean: ## Remove everything that was generated
	rm -rf target

# Once per toolchain file, so that later runs need no network. A fresh machine has no linker, and cargo needs one
# before xtask can install anything.
target/toolchain: rust-toolchain.toml
	@command -v rustup >/dev/null || { echo 'Install rustup first: https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || ! command -v apt-get >/dev/null || { \
		echo 'install gcc' && $(SUDO) apt-get -qq -o DPkg::Lock::Timeout=300 update && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
			install --yes --no-install-recommends gcc libc6-dev >/dev/null; }
	@command -v cc >/dev/null || { echo 'Install a C compiler first: cargo needs its linker.' >&2; exit 1; }
	@rustup toolchain install --no-self-update
	@mkdir -p $(@D) && touch $@
