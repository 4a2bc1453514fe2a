//! The rules of language that a script can hold: banned words, names of tests, and what README and docs name.

use overtag::engine::options::definitions::{DEFINITIONS, Group};
use std::fs;
use std::path::{Path, PathBuf};
use support::shown::overtag;

/// What a reader would have to decode, and what to write in its place. The board's JSON has a key `lacking`, which stays.
const BANNED: [(&str, &str); 16] = [
    ("anew", "again"),
    ("lacking", "missing"),
    ("whoever", "the one who, or you"),
    ("stand for", "point to"),
    ("stands for", "points to"),
    ("tell", "report, return, say"),
    ("tells", "reports, returns, says"),
    ("told", "reported"),
    ("is no", "is not a"),
    ("comes to nothing", "fails"),
    ("came to nothing", "failed"),
    ("led astray", "refused"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("asked of", "queried"),
    ("stands twice", "appears twice"),
];
/// Where one of them is right.
const ALLOWED: [&str; 7] =
    ["there is no", "There is no", "is no longer", "\"lacking\"", "[\"lacking\"]", "tests/language.rs", "told_by"];

/// The files below a folder with one of these endings.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}")).flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(files(&path.display().to_string(), endings));
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            out.push(path);
        }
    }
    out
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether `word` is in `line`, and not as a part of another word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let line = line.to_lowercase();
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

#[test]
fn banned_words_are_in_no_file() {
    let mut paths = files("src", &[".rs", ".js", ".roles", ".defaults"]);
    paths.extend(files("tests", &[".rs", ".case"]));
    paths.extend(files("benches", &[".rs"]));
    paths.extend(files("docs", &[".md"]));
    paths.extend(files("deploy", &[".md", ".conf", ".sh"]));
    paths.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", ".ci/setup", "index.html"].map(PathBuf::from));
    let mut found = Vec::new();
    for path in paths {
        let text = read(&path);
        for (i, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), i + 1);
            let rest = ALLOWED.iter().fold(line.to_owned(), |line, allowed| line.replace(allowed, ""));
            for (word, better) in BANNED {
                if has_word(&rest, word) && !place.starts_with("tests/language.rs") {
                    found.push(format!("{place}: `{word}` (write: {better}): {}", line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn test_names_have_seven_words() {
    let mut tests = 0;
    for path in files("tests", &[".rs"]).into_iter().chain(files("src", &[".rs"])) {
        let text = read(&path);
        for name in text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('(')) {
            let words = name.0.split('_').count();
            assert!((2..=7).contains(&words), "{}: {} has {words} words", path.display(), name.0);
            tests += 1;
        }
    }
    assert!(tests > 300, "{tests}");
}

/// The spans of code in a text, without the backticks.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn readme_names_every_parameter_and_flag() {
    let readme = read("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let named: Vec<&str> = rows.iter().flat_map(|row| spans(row.split('|').nth(1).unwrap_or_default())).collect();
    for d in DEFINITIONS {
        assert!(named.contains(&d.key), "the table of links has no row for {}", d.key);
        let help = d.help();
        assert!(help.len() < 200 && !help.ends_with('.'), "{help}");
        assert!(d.group != Group::Page || !help.is_empty());
    }
    let verbs = ["prepare", "board", "discover", "list-images", "link", "snapshot"];
    let help = verbs.map(|verb| String::from_utf8(overtag(&["help", verb], None).stdout).expect("it is text")).concat();
    let all = format!("{readme}{}", read("docs/glossary.md"));
    for span in all.split(['`', ' ', '\n', ',', '(', ')']).filter(|span| span.starts_with("--")) {
        let flag = span.trim_end_matches(['.', ';', ':']);
        let is_choice = DEFINITIONS.iter().any(|d| d.key.replace('_', "-") == flag[2..]);
        let is_ours = !is_choice && flag[2..].starts_with(|c: char| c.is_ascii_lowercase());
        let is_others = ["--test", "--release", "--authfile", "--features"].contains(&flag);
        assert!(!is_ours || is_others || help.contains(flag), "no verb has the flag {flag}");
    }
}

#[test]
fn files_named_in_docs_exist() {
    for doc in ["README.md", "ARCHITECTURE.md", "docs/glossary.md", "docs/adding.md", "deploy/README.md"] {
        let text = read(doc);
        let folder = Path::new(doc).parent().expect("it has one");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for link in links.map(|(link, _)| link.split('#').next().unwrap_or_default()) {
            let is_file = !link.is_empty() && !link.contains("://");
            assert!(!is_file || folder.join(link).exists(), "{doc} links {link}");
        }
        for span in spans(&text).into_iter().filter(|span| span.starts_with("src/") || span.starts_with("tests/")) {
            assert!(span.contains("NAME") || Path::new(span).exists(), "{doc} names {span}");
        }
        for target in text.split("`make ").skip(1).filter_map(|rest| rest.split_once('`')) {
            assert!(read("Makefile").contains(&format!("\n{}:", target.0)), "{doc} names make {}", target.0);
        }
    }
}
