//! The demo registry: small, the same each time, and with one image of every kind.

use std::collections::BTreeSet;
use std::process::Command;

use overtag::engine::demo;
use serde_json::Value;

#[test]
fn demo_is_small_with_correct_digests() {
    let files = demo::files();
    let size: usize = files.values().map(Vec::len).sum();
    assert!(size < 1_000_000, "{size} bytes");
    for (path, content) in files {
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.starts_with("sha256:") {
            assert_eq!(overtag::engine::registry::manifest::sha256(content), name, "{path}");
        }
    }
}

#[test]
fn demo_covers_every_status_and_note() {
    let done = Command::new(env!("CARGO_BIN_EXE_overtag")).args(["prepare", "--format", "json"]).output().expect("overtag runs");
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    let all = |key: &str| -> BTreeSet<String> {
        let values = report["images"].as_array().into_iter().flatten().map(|i| i[key].clone());
        values
            .flat_map(|v| if v.is_array() { v.as_array().cloned().unwrap_or_default() } else { vec![v] })
            .map(|v| v.to_string())
            .collect()
    };
    assert_eq!(all("status").into_iter().collect::<Vec<_>>(), ["\"absent\"", "\"resolved\""]);
    assert_eq!(all("notes").into_iter().collect::<Vec<_>>(), ["\"mismatch\"", "\"torn\""]);
    assert_eq!(all("pinned_by").into_iter().collect::<Vec<_>>(), ["\"\"", "\"digest\"", "\"exact\"", "\"label\"", "\"sibling\""]);
}
