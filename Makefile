# make serve   the page with the demo registry on http://127.0.0.1:8080 (PORT= moves it)
# make test    everything that is tested
# make build   dist/, for any static host
# make bench   measurements
# Each does its own set-up first; the second run finds it done.

PORT ?= 8080
tools := $(CURDIR)/target/tools
# Trunk looks for its helpers here first, and so fetches nothing.
export PATH := $(tools)/bin:$(tools)/npm-binaryen/node_modules/.bin:$(PATH)
web := --bin overtag-web --no-default-features --features web --target wasm32-unknown-unknown

.PHONY: serve build test bench

serve:
	@.ci/setup page
	trunk serve --release --dist target/serve --port $(PORT)

build:
	@.ci/setup page
	trunk build --release

test:
	@.ci/setup page tests
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet $(web) -- -D warnings
	trunk build --release
	cargo test --quiet

bench:
	@.ci/setup page tests bench
	trunk build --release
	cargo build --quiet --release
	cargo bench --quiet --bench bench
