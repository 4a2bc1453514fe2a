//! YAML as PyYAML's safe loader reads it, compared with PyYAML itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use overtag::engine::yaml;
use serde_json::{Value, json};

/// Documents from which many others are made with small changes.
const DOCUMENTS: &[&str] = &[
    "a: &a {x: 1, y: [1, 2]}\nb: &b\n  <<: *a\n  z: on\nc:\n  <<: [*b, *a]\n  '<<': q\n  y: 0777\n",
    "<<: [{a: 1}, {a: 2, c: 3}]\n<<: {c: 9}\nb: &b {<<: {d: 4}, <<: {d: 5}}\ne: {<<: *b, d: 6}\n",
    "- 1_000\n- 0x1F\n- 0b11\n- 12:30:45\n- 1:20.5\n- 1e3\n- 1.5e+3\n- .5\n- +.5\n- -.inf\n- .NaN\n- 1.\n- 08\n- 0o10\n- 0_\n- ''\n",
    "- 2017-05-30\n- 2001-12-14t21:59:43.10-05:00\n- ~\n- Null\n- nuLL\n- YES\n- yEs\n- y\n- 'no'\n- =x\n",
    "- 18446744073709551615\n- 18446744073709551616\n- -9223372036854775808\n- -9223372036854775809\n- 0xFFFFFFFFFFFFFFFFF\n",
    "k: |\n  a\n  b\n\n   c\nl: >-\n  x\n  y\n\n  z\nm: \"a\\x41\\u00e9\\n\\\n  b\"\nn: 'it''s\n\n  x'\no: |+\n  end\n\n",
    "parameter_defaults:\n  ControllerCount: 010\n  ComputeCount: off\n  # comment\n  Url: http://x/y?z=1#a\n  T: !!str 1\n  U: !!int \"5\"\n  V: ! 12\n",
    "{a: 1, b, 'c': d, \"e\":f, g:h}\n",
    "a: [1,\n2]\nb: \"x\ny\"\nc: {d: 1,\ne: 2}\n",
    "%YAML 1.1\n%TAG !e! tag:yaml.org,2002:\n---\na: !e!str 1\nb: !<tag:yaml.org,2002:int> \"3\"\n...\n",
    "a: 1\na: 2\nb: {x: 1, x: 2}\n",
    "- &a x\n- *a\n- {&b k: *a}\n",
    "a:\r\n  b: 1\r\n  c: |\r\n    x\r\n    y\r\n",
    "? a\n: b\n? - x\n: y\n",
    "key with spaces: v\n'q k': v\n\"d k\": v\nnull: x\n1.5: y\n2: z\n",
    "- - - a\n  - b\n- {<<: {b: 2}, c: 3}\n- []\n- {}\n",
    "a: x\n  y\n  z\nb: a#b # c\nc: -\nd: - 1\n",
    "a: !x y\n",
    "a: \"!x,\"\n",
    "['!10.0.0.0/8','!y']\n",
    "{ciphers: HIGH:!aNULL:!MD5, x: y}\n",
    "a: [\"x #\", !y,1]\n",
    "[!b',1]\n",
    "[!<x[y>,1]\n",
    "a: 1\rb:\r  - 2\r  - |\r    x\r",
    "k: |\n    x\n     ",
    "k: |+\n  x\n  ",
    "k: |\n  x \n  ",
    "k: |2\n    x\n    \n  ",
    "k: >-\n  x\n\n   ",
    "- |+\n   ",
    "- >+\n \n\n  x\n   y\n    ",
    "a: !!set {b}\n",
    "x: [<<]\n",
    "x: =\n",
    "<<: 1\n",
    "<<: [1]\n",
    "a: b: c\n",
    "a: *x\n",
    "a: &a [*a]\n",
    "- &a 1\n- &a 2\n",
    "--- a\n--- b\n",
    "a: 'x\n",
    "[!x,]\n",
    "x: \"\\",
    "- |\n  #",
    "",
    "# only\n",
];

/// Many documents: those above, and others with characters added, removed or moved. The same ones each time.
fn documents() -> Vec<String> {
    const PARTS: [&str; 40] = [
        "a", "b", ":", " ", "-", "\n", "  ", "'", "\"", "{", "}", "[", "]", ",", "#", "&", "*", "!", "|", ">", "%", "@", "?",
        "~", "0", "1", "_", ".", "<<: ", "&a ", "*a ", "- ", "\n  ", "true", "0x1", ": ", "\n- ", "!!str ", "\u{e9}", "\r\n",
    ];
    let mut state = 42_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut out: Vec<String> = DOCUMENTS.iter().map(|d| (*d).to_owned()).collect();
    while out.len() < 6_000 {
        let mut text: Vec<char> = DOCUMENTS[random(DOCUMENTS.len())].chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len() + 1);
            match random(4) {
                0 if at < text.len() => _ = text.drain(at..(at + 1 + random(3)).min(text.len())),
                1 if at < text.len() => {
                    let end = (at + 1 + random(12)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    let to = random(text.len() + 1);
                    text.splice(to..to, copy);
                }
                _ => _ = text.splice(at..at, PARTS[random(PARTS.len())].chars()),
            }
        }
        out.push(text.into_iter().collect());
    }
    out
}

/// How PyYAML reads each document: its value with text keys, or `{"error"}` and then libyaml's value, if it has one.
/// A number that JSON does not hold is `{"text": …}`.
fn pyyaml(documents: &[String]) -> Vec<Value> {
    const SCRIPT: &str = r#"
import json, math, sys, yaml
# As Heat's client reads them.
for loader in yaml.SafeLoader, yaml.CSafeLoader:
    loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)
def plain(v):
    if isinstance(v, dict):
        return {"map": {k if isinstance(k, str) else json.dumps(k): plain(x) for k, x in v.items()}}
    if isinstance(v, list):
        return [plain(x) for x in v]
    if v is None or isinstance(v, (bool, str)) or isinstance(v, float) and math.isfinite(v) or isinstance(v, int) and -2**63 <= v < 2**64:
        return v
    return {"text": True}
out = []
for text in json.load(sys.stdin):
    try:
        out.append({"value": plain(yaml.safe_load(text))})
    except Exception as e:
        out.append({"error": str(e)})
        try:
            out[-1]["lenient"] = plain(yaml.load(text, Loader=yaml.CSafeLoader))
        except Exception:
            pass
json.dump(out, sys.stdout)
"#;
    let python = Path::new("target/tools/venv/bin/python");
    assert!(python.exists(), "the venv with PyYAML is not there: run .ci/setup page tests");
    let mut child = Command::new(python)
        .args(["-W", "ignore", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let input = json!(documents).to_string();
    let mut stdin = child.stdin.take().expect("an input");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().expect("python ends");
    writer.join().expect("it wrote").expect("it was read");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// Whether ours is what PyYAML's value is.
fn is_same(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Object(o), ours) if o.contains_key("text") => ours.is_string(),
        (Value::Object(o), Value::Object(ours)) => o["map"].as_object().is_some_and(|map| {
            map.len() == ours.len() && map.iter().all(|(k, v)| ours.get(k).is_some_and(|ours| is_same(v, ours)))
        }),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        // serde_json reads theirs less exactly than we read ours.
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(1.0));
            (a - b).abs() <= a.abs() * 1e-15
        }
        (a, b) => a == b,
    }
}

#[test]
fn documents_read_as_pyyaml_reads_them() {
    let documents = documents();
    let (mut same, mut refused) = (0, 0);
    for (text, theirs) in documents.iter().zip(pyyaml(&documents)) {
        let ours = yaml::parse("t.yaml", text);
        match (&theirs["value"], &ours, theirs.get("error")) {
            (_, Err(error), _) => {
                refused += usize::from(theirs.get("error").is_none());
                assert!(error.location.to_string().starts_with("t.yaml, line "), "{text:?}: {error}");
            }
            // For Python the keys `1` and `true` are the same.
            (theirs, Ok(ours), None) => {
                assert!(is_same(theirs, &ours.value), "{text:?}\nPyYAML {theirs}\nours   {}", ours.value);
                same += 1;
            }
            // libyaml, which Heat uses if it is installed, accepts more.
            (_, Ok(ours), Some(error)) => {
                let lenient = theirs.get("lenient").is_some_and(|lenient| is_same(lenient, &ours.value));
                assert!(lenient, "{text:?} is {} for us; PyYAML: {error}", ours.value);
            }
        }
    }
    assert!(same > 1_000 && refused < same / 10, "{same} alike, {refused} refused by us alone");
}

#[test]
fn duplicate_keys_are_reported_with_place() {
    let document = yaml::parse("e.yaml", "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n").expect("YAML");
    assert_eq!(document.value, json!({ "a": 2, "b": { "c": 3 , "d": 2 } }));
    let reported: Vec<String> = document.notices.iter().map(ToString::to_string).collect();
    assert!(
        reported[0].contains("`c` appears twice") && reported[0].contains("e.yaml, line 5, column 3: `c: 3`"),
        "{reported:?}"
    );
    assert!(reported[1].contains("`a` appears twice") && reported[1].contains("line 6, column 1"), "{reported:?}");
    let document = yaml::parse("e.yaml", "x:\n  <<: [{a: 1, b: 2}, {a: 3, b: 2}]\n").expect("YAML");
    assert_eq!(document.value, json!({ "x": { "a": 1, "b": 2 } }));
    assert_eq!(document.notices.len(), 1, "{:?}", document.notices);
    assert!(document.notices[0].to_string().contains("`a` is merged from several mappings"), "{:?}", document.notices);
    // A merged key may be overridden without a notice.
    assert!(yaml::parse("e.yaml", "x: {<<: {a: 1}, a: 2}").expect("YAML").notices.is_empty());
}

#[test]
fn exploding_documents_are_refused_at_once() {
    let nested = |n: usize, open: &str| open.repeat(n);
    let alias = format!("a: &a \"{}\"\nb: [{}]", "x".repeat(1_000_000), "*a,".repeat(6_000));
    let bomb = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} [*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0}]\n", i - 1)
    });
    let merges = (1..40).fold("a0: &a0 {x: [1, 2, 3]}\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} {{<<: [*a{0}, *a{0}], k{i}: *a{0}, l{i}: *a{0}}}\n", i - 1)
    });
    for (text, words) in [
        (nested(200_000, "["), "deeper than 100"),
        (nested(200_000, "{a: "), "deeper than 100"),
        (nested(200_000, "- "), "deeper than 100"),
        (nested(200_000, "? "), "deeper than 100"),
        (alias, "16 MiB"),
        (bomb, "16 MiB"),
        (merges, "16 MiB"),
    ] {
        let start = Instant::now();
        let error = yaml::parse("e.yaml", &text).expect_err(words).to_string();
        assert!(error.contains(words) && error.contains("e.yaml, line "), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{words}: {:?}", start.elapsed());
    }
    // A hundred levels are fine.
    assert!(yaml::parse("e.yaml", &format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
}

#[test]
fn written_yaml_reads_back_unchanged() {
    let odd = [
        "on",
        "1e10",
        "0777",
        "1_000",
        "12:30",
        "2017-05-30",
        "~",
        "null",
        "<<",
        "=",
        "",
        " x",
        "a: b",
        "# c",
        "é\n\t",
        "'\"\\",
        "0x1F",
        "y",
    ];
    let value = json!({ "texts": odd, "numbers": [1, -1, 1.5, 1e300, u64::MAX], "deep": [{ "a": [[], {}, null, true] }] });
    let written = yaml::write(&value);
    let read: Value = serde_yaml::from_str(&written).expect("YAML 1.2");
    assert_eq!(read, value, "{written}");
    assert_eq!(yaml::parse("w", &written).expect("YAML 1.1").value, value, "{written}");
}
