//! Our output compared with the established tool's: tripleo-common 16.4.0, from the venv that `.ci/setup` makes.

use std::path::Path;
use std::process::Command;

fn compare(more: &[&str]) {
    let python = Path::new("target/tools/venv/bin/python");
    assert!(python.exists(), "the venv with tripleo-common is not there: run .ci/setup page tests");
    let done = Command::new(python)
        .arg("-B")
        .arg("tests/peer/compare.py")
        .args(["--overtag", env!("CARGO_BIN_EXE_overtag")])
        .args(more)
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let passed: usize = said.lines().last().and_then(|l| l.split(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(passed > 100, "too few cases were compared: {said}");
}

#[test]
fn list_and_parameters_equal_tripleo_common() {
    compare(&["--facts", "tests/facts"]);
}

#[test]
fn pyyaml_reads_files_back_unchanged() {
    compare(&["--yaml"]);
}
