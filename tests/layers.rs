//! The arrows of `src/lib.rs`: which folder may use which, and what the engine may not use at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder, and which of our modules it may use.
const ARROWS: [(&str, &[&str]); 5] = [
    ("src/engine", &["engine"]),
    ("src/net", &["engine"]),
    ("src/app", &["app", "net", "engine"]),
    ("src/cli", &["cli", "net", "engine"]),
    ("src/bin", &["app", "cli", "engine"]),
];
/// The engine's rooms, each of which may name only itself and those before it.
const ROOMS: [&str; 19] = [
    "error", "wording", "time", "url", "yaml", "json", "image", "release", "registry", "options", "template", "resolve",
    "pipeline", "snapshot", "session", "board", "output", "workflow", "demo",
];
/// What would make the engine impure.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net::Tcp",
    "std::env",
    "std::thread",
    "std::process",
    "Instant",
    "SystemTime::now",
    "async ",
    "web_sys",
    "leptos",
];
/// Crates that only one module each may use.
const BEHIND: [(&str, &str); 2] = [("libyaml_safer", "src/engine/yaml/"), ("minijinja", "src/engine/template/")];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}

/// Code without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the file can be read");
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn dialects_are_named_in_registry_alone() {
    for file in sources(Path::new("src")).iter().filter(|file| !file.starts_with("src/engine/registry")) {
        let code = code(file);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default().replace("quay.io", "");
        for word in ["Quay", "quay", "distribution::"] {
            assert!(!code.contains(word), "{} names a dialect ({word}): ask for a capability", file.display());
        }
    }
}

#[test]
fn folders_import_only_allowed_modules() {
    for (folder, allowed) in ARROWS {
        for file in sources(Path::new(folder)) {
            let code = code(&file);
            for named in code.split("crate::").skip(1).chain(code.split("overtag::").skip(1)) {
                let module: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(allowed.contains(&module.as_str()), "{} names {module}", file.display());
            }
        }
    }
}

/// The modules of the engine that a file of it names, as paths below `src/engine`, tests left out.
fn named(file: &Path, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = code(file);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let own = module(file);
    let folder =
        if file.ends_with("mod.rs") { own.clone() } else { own.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned() };
    let mut out = BTreeSet::new();
    let siblings = code.split("super::").skip(1).map(|rest| format!("{folder}::{rest}").trim_start_matches(':').to_owned());
    for path in code.split("crate::engine::").skip(1).map(str::to_owned).chain(siblings) {
        // The longest beginning that is a module: `registry::query::{…}` names `registry/query`.
        let path: String =
            path.replace("::", "/").chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '/')).collect();
        let parts: Vec<&str> = path.split('/').collect();
        let longest = (1..=parts.len()).rev().map(|n| parts[..n].join("/")).find(|m| modules.contains(m));
        out.extend(longest.filter(|m| *m != own));
    }
    out
}

/// `src/engine/registry/quay.rs` → `registry/quay`
fn module(file: &Path) -> String {
    let path = file.strip_prefix("src/engine").expect("a file of the engine").with_extension("");
    path.display().to_string().trim_end_matches("/mod").to_owned()
}

#[test]
fn engine_rooms_import_only_earlier_rooms() {
    let files = sources(Path::new("src/engine"));
    let modules: BTreeSet<String> = files.iter().map(|f| module(f)).filter(|m| m != "mod").collect();
    let place = |module: &str| {
        let room = module.split('/').next().unwrap_or_default();
        ROOMS.iter().position(|r| *r == room).unwrap_or_else(|| panic!("{room} is not in ROOMS"))
    };
    for file in files.iter().filter(|f| module(f) != "mod") {
        for other in named(file, &modules) {
            assert!(place(&other) <= place(&module(file)), "{} names {other}, which is above it", file.display());
        }
    }
}

#[test]
fn modules_of_the_engine_form_no_cycle() {
    let files = sources(Path::new("src/engine"));
    let modules: BTreeSet<String> = files.iter().map(|f| module(f)).filter(|m| m != "mod").collect();
    let mut left: BTreeMap<String, BTreeSet<String>> =
        files.iter().filter(|f| module(f) != "mod").map(|f| (module(f), named(f, &modules))).collect();
    // A part of a room may use the types of the room itself.
    for (module, names) in &mut left {
        names.retain(|other| !module.starts_with(&format!("{other}/")));
    }
    assert!(left.values().map(BTreeSet::len).sum::<usize>() > 100, "imports are found");
    while let Some(done) = left.iter().find(|(_, names)| names.iter().all(|n| !left.contains_key(n))).map(|(m, _)| m.clone()) {
        left.remove(&done);
    }
    assert!(left.is_empty(), "these form a cycle, or need one: {left:#?}");
}

/// The page's rooms, each of which may name only itself and those before it.
const SHELVES: [&str; 7] = ["browser", "ui", "state", "driver", "parts", "pages", "frame"];

#[test]
fn page_rooms_import_only_earlier_rooms() {
    for file in sources(Path::new("src/app")) {
        let path = file.strip_prefix("src/app").expect("a file of the page").with_extension("");
        let own = path.iter().next().expect("a name").to_string_lossy().into_owned();
        let Some(place) = SHELVES.iter().position(|s| *s == own) else {
            assert_eq!(own, "mod", "{} is in no room", file.display());
            continue;
        };
        for named in code(&file).split("crate::app::").skip(1) {
            let named: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(SHELVES[..=place].contains(&named.as_str()), "{} names {named}, which is above it", file.display());
        }
    }
}

#[test]
fn the_engine_is_pure() {
    let files = sources(Path::new("src/engine"));
    assert!(files.len() > 10);
    for file in files {
        let code = code(&file);
        for name in IMPURE {
            assert!(!code.contains(name), "{} names {name}", file.display());
        }
    }
}

#[test]
fn replaceable_crate_stays_behind_one_module() {
    for (name, module) in BEHIND {
        let users: Vec<String> =
            sources(Path::new("src")).iter().filter(|f| code(f).contains(name)).map(|f| f.display().to_string()).collect();
        assert!(!users.is_empty() && users.iter().all(|user| user.starts_with(module)), "{name} is used by {users:?}");
    }
}

#[test]
fn every_custom_property_is_declared_and_used() {
    let css: String = sources_css().iter().map(|f| fs::read_to_string(f).expect("style")).collect();
    let mut declared = Vec::new();
    for line in css.lines().map(str::trim).filter(|l| l.starts_with("--")) {
        let name = line.split(':').next().unwrap_or_default().to_owned();
        assert!(
            css.contains(&format!("var({name})")) || css.contains(&format!("var({name},")),
            "{name} is declared and not used"
        );
        declared.push(name);
    }
    for used in css.split("var(").skip(1) {
        let name = used.split([')', ',']).next().unwrap_or_default().trim();
        assert!(declared.iter().any(|d| d == name), "{name} is used and not declared");
    }
    assert!(!css.contains("!important"));
}

fn sources_css() -> Vec<PathBuf> {
    let style = fs::read_dir("style").expect("style").flatten().map(|e| e.path());
    style.filter(|p| p.extension().is_some_and(|e| e == "css")).collect()
}

#[test]
fn glossary_defines_row_and_channel_words() {
    use overtag::engine::board::State;
    use overtag::engine::resolve::{Note, PinnedBy, Status};
    let glossary = fs::read_to_string("docs/glossary.md").expect("the glossary");
    let rows = [Status::Resolved, Status::Absent, Status::Unresolved, Status::Error].map(Status::word);
    let notes = [Note::Torn, Note::Mismatch].map(Note::word);
    let pins = [PinnedBy::Exact, PinnedBy::Label, PinnedBy::Sibling, PinnedBy::Digest, PinnedBy::Channel].map(PinnedBy::word);
    let channels = [State::Whole, State::Torn, State::Incomplete, State::Empty, State::Unproven, State::Unknown].map(State::word);
    for word in rows.iter().chain(&notes).chain(&pins).chain(&channels) {
        assert!(glossary.contains(&format!("`{word}`")), "{word} is not defined");
    }
}
