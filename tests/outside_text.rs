//! Foreign texts in our output: no control sequences, no extra lines and no script links, whatever field of a
//! snapshot, of DLRN's answers or of the promoter's file they come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

/// What a hostile text may try: to set the terminal's title, clear it, add a line, reverse the text, or run a script.
const HOSTILE: &str = "javascript:alert(1)//\u{1b}]0;OWNED\u{7}\u{9b}2J\r\nFAKE whole\u{202e}\"><script>";

/// Runs the command line: its exit status, and all that it printed.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_overtag")).args(args).current_dir(folder).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (command.status.code(), text(&command.stdout) + &text(&command.stderr))
}

/// Arguments, and what came of them.
type Outcome<'a> = (&'a [&'a str], (Option<i32>, String));

/// Runs the command line with each of these arguments, all at once.
fn run_each<'a>(folder: &Path, all: &[&'a [&'a str]]) -> Vec<Outcome<'a>> {
    std::thread::scope(|scope| {
        let started: Vec<_> = all.iter().map(|args| (*args, scope.spawn(|| run(folder, args)))).collect();
        started.into_iter().map(|(args, thread)| (args, thread.join().expect("it does not panic"))).collect()
    })
}

fn assert_tame(text: &str, case: &str) {
    let wild = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202e}'));
    assert_eq!(wild, None, "{case}: {text}");
    assert!(!text.lines().any(|line| line.starts_with("FAKE")), "{case}: {text}");
}

/// Every path to a value or key of a document; paths that differ only in names, digests or list positions count once.
fn places(value: &Value) -> Vec<(String, Vec<String>)> {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut BTreeMap<String, Vec<String>>) {
        // Names, digests and positions in a list do not matter.
        let general = |path: &[String]| {
            let is_free = |part: &&String| part.len() < 16 && !part.contains(['/', ':', '.']) && part.parse::<usize>().is_err();
            path.iter().map(|part| if is_free(&part) { part.as_str() } else { "*" }).collect::<Vec<_>>().join(".")
        };
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    path.push(key.clone());
                    out.entry(format!("key {}", general(path))).or_insert_with(|| path.clone());
                    walk(value, path, out);
                    path.pop();
                }
            }
            Value::Array(list) => {
                for (i, value) in list.iter().enumerate() {
                    path.push(i.to_string());
                    walk(value, path, out);
                    path.pop();
                }
            }
            _ => _ = out.entry(general(path)).or_insert_with(|| path.clone()),
        }
    }
    let mut out = BTreeMap::new();
    walk(value, &mut Vec::new(), &mut out);
    out.into_iter().collect()
}

/// The document with another value at a path, or with another key there.
fn changed(value: &Value, path: &[String], is_key: bool, with: &Value) -> Value {
    let Some((first, rest)) = path.split_first() else { return with.clone() };
    match value {
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| match key == first {
                true if is_key && rest.is_empty() => (HOSTILE.to_owned(), value.clone()),
                true => (key.clone(), changed(value, rest, is_key, with)),
                false => (key.clone(), value.clone()),
            };
            Value::Object(map.iter().map(pair).collect::<Map<_, _>>())
        }
        Value::Array(list) => {
            let item = |(i, value): (usize, &Value)| {
                if i.to_string() == *first { changed(value, rest, is_key, with) } else { value.clone() }
            };
            Value::Array(list.iter().enumerate().map(item).collect())
        }
        other => other.clone(),
    }
}

/// A snapshot with every field that one can have.
fn snapshot(folder: &Path) -> Value {
    let (status, said) = run(folder, &["snapshot", "--release", "demo", "--view", "board", "--output", "s.json"]);
    assert_eq!(status, Some(0), "{said}");
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(folder.join("s.json")).expect("written")).expect("JSON");
    let hash = format!("{}_{}", "1".repeat(40), "2".repeat(8));
    whole["pipeline"] = json!({
        "promotions": [{ "at": 1_500_000_000, "channel": "tripleo-ci-testing", "hash": hash, "query": "a=b", "url": "https://d.example/" }],
        "votes": { &hash: [
            { "job": "job-failed", "success": false, "at": 1_500_000_000, "url": "https://l.example/" },
            { "job": "job-running", "success": false, "running": true, "at": 1_500_000_000, "url": "https://l.example/" },
        ] },
        "criteria": { "current-tripleo": { "candidate": "tripleo-ci-testing", "jobs": [["job-failed", ["job-other"]], ["job-running", []], ["job-missing", []]] } },
        "builds": { "job-failed": { "result": "FAILURE", "at": 1_500_000_000, "url": "https://l.example/" } },
        "api": "https://d.example", "base": "https://b.example",
        "fetched": ["x"], "troubles": { "https://t.example/": "it was down" }, "notices": ["a notice"],
    });
    let first = whole["repositories"].as_object_mut().expect("repositories").values_mut().next().expect("one");
    first["error"] = json!("an error");
    first["no_list"] = json!("no list");
    whole
}

#[test]
fn hostile_snapshot_texts_are_rejected_or_cleaned() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = snapshot(folder.path());
    let (mut refused, mut tamed) = (0, 0);
    let all = places(&whole);
    assert!(all.len() > 50, "{all:?}");
    for (name, path) in all {
        let is_key = name.starts_with("key ");
        let is_text = path.iter().try_fold(&whole, |value, part| match value {
            Value::Array(list) => list.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        });
        let values = match is_key || is_text.is_some_and(Value::is_string) {
            true => vec![json!(HOSTILE)],
            false => vec![json!(HOSTILE), json!(u64::MAX), json!(1e300)],
        };
        for value in values {
            let text = changed(&whole, &path, is_key, &value).to_string();
            fs::write(folder.path().join("hostile.json"), text).expect("written");
            let case = format!("{name} = {value}");
            let mut is_refused = false;
            for (args, (status, said)) in run_each(
                folder.path(),
                &[
                    &["board", "--release", "demo", "--snapshot", "hostile.json"][..],
                    &["board", "--release", "demo", "--snapshot", "hostile.json", "--format", "json"],
                    &["board", "--release", "demo", "--snapshot", "hostile.json", "--format", "svg"],
                    &["prepare", "--release", "demo", "--snapshot", "hostile.json"],
                    &["snapshot", "--snapshot", "hostile.json", "--compare", "s.json"],
                ],
            ) {
                assert!(matches!(status, Some(0..=3)), "{case}: {args:?}: {status:?} {said}");
                assert_tame(&said, &format!("{case}: {args:?}"));
                is_refused |= said.contains("damaged") || said.contains("not a snapshot");
                for line in said.lines().filter(|line| line.contains("\"url\": \"") || line.contains("\"repository\": \"http")) {
                    assert!(!line.contains("javascript:"), "{case}: {line}");
                }
                assert!(!said.contains("<script>") || status != Some(0) || !args.contains(&"svg"), "{case}: {said}");
            }
            refused += u32::from(is_refused);
            tamed += u32::from(!is_refused);
        }
    }
    println!("{refused} changed snapshots were refused, {tamed} tamed");
    assert!(refused > 20 && tamed > 10);
}

#[test]
fn hostile_pipeline_responses_are_cleaned() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("written");
    let quoted = json!(HOSTILE);
    write(
        "c.yaml",
        format!(
            "api_url: {quoted}\nbase_url: {quoted}\npromotions:\n  {quoted}: {{criteria: [x]}}\n  current-tripleo: {{candidate_label: {quoted}, criteria: [{quoted}, y]}}\n"
        ),
    );
    let promotion = |key: &str, value: Value| {
        let mut p = json!({ "timestamp": 1_500_000_000, "promote_name": "current-tripleo", "aggregate_hash": "1".repeat(32), "repo_url": "https://d.example/" });
        p[key] = value;
        p
    };
    for key in [
        "timestamp",
        "promote_name",
        "aggregate_hash",
        "repo_url",
        "component",
        "extended_hash",
        "commit_hash",
        "distro_hash",
        "repo_hash",
    ] {
        for value in [quoted.clone(), json!(1e30), json!(u64::MAX), json!(-5), json!(4_102_444_800_u64), json!([1]), Value::Null]
        {
            write("d.json", json!([promotion(key, value.clone())]).to_string());
            let args = |format| ["board", "--release", "demo", "--dlrn", "d.json", "--criteria", "c.yaml", "--format", format];
            let formats = [args("table"), args("json")];
            for (args, (status, said)) in run_each(folder.path(), &[&formats[0][..], &formats[1]]) {
                let format = args[args.len() - 1];
                assert!(matches!(status, Some(0..=3)), "{key} {value}: {said}");
                assert_tame(&said, &format!("{key} {value} {format}"));
                assert!(
                    !said.contains("584554051223") && !said.contains("\"repository\": \"javascript"),
                    "{key} {value}: {said}"
                );
                let is_late = key == "timestamp" && value.as_f64().is_some_and(|at| at > 4e9);
                assert!(!is_late || said.contains("later than the local clock"), "{key} {value}: {said}");
            }
        }
    }
}
