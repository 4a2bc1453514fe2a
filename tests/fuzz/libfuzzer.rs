//! One target under libFuzzer, named by the environment variable `TARGET`: `make fuzz` builds it and runs them all.

#![no_main]

mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    targets::ALL.into_iter().find(|(n, _)| *n == name).expect("TARGET names one of the folders in tests/fuzz/corpus").1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (*TARGET)(data));
