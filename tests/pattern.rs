//! Regular expressions as Python reads them: each result is compared with Python's own `re.search`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use overtag::engine::options::pattern::Pattern;

const NAME: &str = "quay.io/tripleotrain/centos-binary-nova-compute-ironic:current-tripleo";

/// Expressions and texts; Python itself decides whether one is found in the other.
const CASES: [(&str, &str); 39] = [
    ("nova-compute", NAME),
    ("^nova", NAME),
    ("nova(?!-api)", NAME),
    ("(?<=binary-)nova", NAME),
    ("(?<!binary-)nova", NAME),
    (r"(o)v\1", NAME),
    (r"(?P<x>tripleo).*(?P=x)$", NAME),
    ("(?i)NOVA", NAME),
    ("NOVA", NAME),
    (r"\Z", NAME),
    (r"tripleo\Z", NAME),
    (r"[[]", "a[b"),
    (r"[]a]", "]"),
    (r"[^]a]", "]"),
    (r"[a&&b]", "&"),
    (r"[+--]", ","),
    (r"a{,2}b", "aab"),
    (r"^a{,2}b", "aaab"),
    (r"a{x}", "a{x}"),
    (r"a{", "a{"),
    (r"x{2}", "xx"),
    (r"{", "{"),
    (r"(?a)\d", "5"),
    (r"(?s).\w", "a\nb"),
    (r"(?x) n o v a ", NAME),
    (r"\bnova\b", NAME),
    (r"(a)?(?(1)b|c)", "ab"),
    (r"(?>a+)b", "aab"),
    (r"a++b", "aab"),
    (r"\d+(?:\.\d+)+", "v1.2.3"),
    (r"[\w.-]+:", NAME),
    (r"é", "é"),
    (r"\<nova", NAME),
    (r"\156ova", NAME),
    (r"\x6eova", NAME),
    (r"\u006eova", NAME),
    (r"a\.b\-c", "a.b-c"),
    (r"[\b]", "\u{8}"),
    (r"a(?#note)b", "ab"),
];

#[test]
fn pattern_search_agrees_with_python() {
    for (pattern, text) in CASES {
        let script =
            "import re,sys,warnings; warnings.simplefilter('ignore'); sys.exit(0 if re.search(sys.argv[1], sys.argv[2]) else 7)";
        let python = Command::new("python3").args(["-c", script, pattern, text]).output().expect("python3 runs");
        let code = python.status.code();
        assert!(matches!(code, Some(0 | 7)), "{pattern}: {}", String::from_utf8_lossy(&python.stderr));
        let ours = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(ours.is_found(text), Ok(code == Some(0)), "{pattern} in {text}");
    }
}

/// Whether Python finds each expression in its text; `None` where the expression is invalid.
fn python(asked: &[(String, &str)]) -> Vec<Option<bool>> {
    const SCRIPT: &str = r#"
import json, re, sys, warnings
warnings.simplefilter("ignore")
def found(pattern, text):
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return None
json.dump([found(*pair) for pair in json.load(sys.stdin)], sys.stdout)
"#;
    let mut child =
        Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let input = serde_json::to_vec(asked).expect("it is JSON");
    child.stdin.take().expect("it is piped").write_all(&input).expect("python3 reads");
    let output = child.wait_with_output().expect("python3 ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("python3 writes JSON")
}

#[test]
fn random_patterns_agree_with_python() {
    const PARTS: [&str; 62] = [
        "a", "b", "ab", ".", "-", " ", "\n", "#", "# b\n", "1", "(", "(", "(?:", "(?i:", "(?x:", "(?-i:", "(?x-i:", "(?i-i:",
        "(?s-:", "(?P<n>", "(?P<m>", "(?P<1>", "(?P=n)", "(?(1)", "(?(2)", "(?(0)", "(?(n)", "(?=", "(?!", "(?>", ")", ")", ")",
        ")", "|", "*", "+", "?", "{2}", "{,2}", "{2,1}", "{", "[ab]", "[^a#]", "[ #]", "[", "]", r"\1", r"\2", r"\12", r"\101",
        r"\477", r"[\1]", r"\b", r"\Z", r"\d", r"\ ", "^", "$", "(?#x)", "(?i)", "(?x)",
    ];
    const TEXTS: [&str; 6] = ["", "aab", "ab ab", "A1-b#", "a\nb", "a{2}b(\u{1}1"];
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut asked = Vec::new();
    for _ in 0..30_000 {
        let length = 1 + random(9);
        let mut pattern: String = (0..length).map(|_| PARTS[random(PARTS.len())]).collect();
        if random(2) == 0 {
            let open = pattern.matches('(').count();
            pattern.push_str(&")".repeat(open.saturating_sub(pattern.matches(')').count())));
        }
        if random(6) == 0 {
            pattern.insert_str(0, "(?x)");
        }
        asked.push((pattern, TEXTS[random(TEXTS.len())]));
    }
    let said = python(&asked);
    let right = said.iter().flatten().count();
    assert!(right > asked.len() / 10, "{right} are right");
    let mut wrong = Vec::new();
    for ((pattern, text), theirs) in asked.iter().zip(said) {
        let ours = Pattern::new(pattern);
        // Repeating a lookahead has no effect, and the crate does not accept it.
        if ours.as_ref().is_err_and(|e| theirs.is_some() && e.contains("Target of repeat operator is invalid")) {
            continue;
        }
        let ours = ours.ok().map(|p| p.is_found(text).unwrap_or_else(|e| panic!("{pattern:?}: {e}")));
        if ours != theirs {
            wrong.push(format!("{pattern:?} in {text:?}: {ours:?}, and Python {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), asked.len(), wrong[..wrong.len().min(40)].join("\n"));
}

#[test]
fn invalid_pattern_error_is_one_line() {
    for pattern in
        ["(", "a)", "*", "[a", r"(?P<n", r"\", "(?P=nope)", r"\z", r"\K", r"\h", "(?<n>a)", "(?R)", "(?~a)", "a(?i)b", r"\x4"]
    {
        let error = Pattern::new(pattern).expect_err(pattern);
        assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error}");
    }
}

#[test]
fn runaway_pattern_is_given_up() {
    let pattern = Pattern::new(r"^(?:(a|aa)(?=a|!))*$").expect("it is right");
    assert!(pattern.is_found(&format!("{}!", "a".repeat(60))).is_err());
}

#[test]
fn newest_pattern_matches_whole_tag() {
    let pattern = Pattern::whole(r"v?\d+|latest").expect("it is right");
    assert_eq!(pattern.is_found("v12"), Ok(true));
    assert_eq!(pattern.is_found("v12-rc"), Ok(false));
    assert_eq!(pattern.is_found("xlatest"), Ok(false));
}
