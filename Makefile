# make serve   the page with the demo registry on http://127.0.0.1:8080 (PORT= moves it)
# make test    everything that is tested
# make build   dist/, for any static host
# make bench   measurements
# make fuzz    what reads foreign bytes, guided by coverage: each target for SECONDS=600, or one (make fuzz-link); findings are in target/fuzzed
# Each does its own set-up first; the second run finds it done.

PORT ?= 8080
tools := $(CURDIR)/target/tools
# Trunk looks for its helpers here first, and so fetches nothing.
export PATH := $(tools)/bin:$(tools)/npm-binaryen/node_modules/.bin:$(PATH)
web := --bin overtag-web --no-default-features --features web --target wasm32-unknown-unknown

# What cargo-fuzz passes, but for the sanitizers, which need a nightly Rust.
coverage := -Cpasses=sancov-module $(patsubst %,-Cllvm-args=-sanitizer-coverage-%,level=4 inline-8bit-counters pc-table trace-compares)
SECONDS ?= 600

.PHONY: serve build test bench fuzz

serve:
	@.ci/setup page
	trunk serve --release --dist target/serve --port $(PORT)

build:
	@.ci/setup page
	trunk build --release

test:
	@.ci/setup page tests
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --features test-browser -- -D warnings
	cargo clippy --quiet $(web) -- -D warnings
	trunk build --release
	cargo test --quiet --features test-browser

bench:
	@.ci/setup page tests bench
	trunk build --release
	cargo build --quiet --release
	cargo bench --quiet --bench bench

fuzz: $(patsubst tests/fuzz/corpus/%,fuzz-%,$(wildcard tests/fuzz/corpus/*))

# With --target the flags are for the target alone, not for build scripts.
fuzz-%:
	@.ci/setup fuzz
	@mkdir -p target/fuzzed/$*
	TARGET=$* RUSTFLAGS="$(coverage)" cargo run --quiet --profile fuzz --bin overtag-fuzz --no-default-features --features fuzz \
	  --target "$$(rustc --print host-tuple)" -- -max_total_time=$(SECONDS) -dict=tests/fuzz/dictionary -print_final_stats=1 \
	  -artifact_prefix=target/fuzzed/$*- target/fuzzed/$* tests/fuzz/corpus/$*
