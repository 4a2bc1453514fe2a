//! The targets of `make fuzz`, with their corpus and simple mutations of it: no input may break a promise.

#[path = "fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// How many mutations each target gets.
const ROUNDS: usize = 2000;

/// Marsaglia's xorshift: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        (self.0 % end.max(1) as u64) as usize
    }

    /// A piece of `bytes` of up to 40 bytes.
    fn piece(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len());
        start..(start + self.below(40)).min(bytes.len())
    }
}

/// The files of a folder, in one order.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.into_iter().map(|p| (p.display().to_string(), fs::read(&p).expect("a file"))).collect()
}

fn run(name: &str) {
    let target = targets::ALL.into_iter().find(|(n, _)| *n == name).expect("a target").1;
    let corpus = files(&Path::new("tests/fuzz/corpus").join(name));
    let dictionary = fs::read_to_string("tests/fuzz/dictionary").expect("the dictionary");
    let words: Vec<&str> = dictionary.lines().filter_map(|l| l.strip_prefix('"')?.strip_suffix('"')).collect();
    let check = |bytes: &[u8], of: &str| {
        if std::panic::catch_unwind(|| target(bytes)).is_err() {
            panic!("{name} breaks on this, made of {of}:\n{}", bytes.escape_ascii());
        }
    };
    for (file, bytes) in &corpus {
        check(bytes, file);
    }
    let mut dice = Dice(0x6f76_6572_7461_6721);
    for _ in 0..ROUNDS {
        let (file, bytes) = &corpus[dice.below(corpus.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=dice.below(4) {
            let place = dice.piece(&bytes);
            let put = match dice.below(5) {
                0 => Vec::new(),
                1 => bytes[dice.piece(&bytes)].to_vec(),
                2 => words[dice.below(words.len())].replace("\\\"", "\"").replace("\\\\", "\\").into_bytes(),
                3 => {
                    let other = &corpus[dice.below(corpus.len())].1;
                    other[dice.piece(other)].to_vec()
                }
                _ => vec![dice.below(256) as u8],
            };
            match dice.below(2) {
                0 => _ = bytes.splice(place, put),
                _ => _ = bytes.splice(place.start..place.start, put),
            }
        }
        check(&bytes, file);
    }
}

#[test]
fn authfile_target_survives_mutations() {
    run("authfile");
}

#[test]
fn challenge_target_survives_mutations() {
    run("challenge");
}

#[test]
fn dlrn_target_survives_mutations() {
    run("dlrn");
}

#[test]
fn link_target_survives_mutations() {
    run("link");
}

#[test]
fn manifest_target_survives_mutations() {
    run("manifest");
}

#[test]
fn pattern_target_survives_mutations() {
    run("pattern");
}

#[test]
fn quay_target_survives_mutations() {
    run("quay");
}

#[test]
fn reference_target_survives_mutations() {
    run("reference");
}

#[test]
fn snapshot_target_survives_mutations() {
    run("snapshot");
}

#[test]
fn yaml_target_survives_mutations() {
    run("yaml");
}

#[test]
fn every_fuzz_target_has_test_and_corpus() {
    let of_tests = ["authfile", "challenge", "dlrn", "link", "manifest", "pattern", "quay", "reference", "snapshot", "yaml"];
    assert_eq!(targets::ALL.map(|(name, _)| name), of_tests);
    assert_eq!(fs::read_dir("tests/fuzz/corpus").expect("the corpus").count(), of_tests.len());
}
