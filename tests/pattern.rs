//! Regular expressions as Python reads them; each answer below was given by Python 3.11's `re.search`.

use std::process::Command;

use overtag::engine::pattern::Pattern;

const NAME: &str = "quay.io/tripleotrain/centos-binary-nova-compute-ironic:current-tripleo";

/// Expressions and texts; whether one is found in the other is asked of Python itself.
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
fn what_is_found_is_what_python_finds() {
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

#[test]
fn a_wrong_expression_is_told_in_one_phrase() {
    for pattern in
        ["(", "a)", "*", "[a", r"(?P<n", r"\", "(?P=nope)", r"\z", r"\K", r"\h", "(?<n>a)", "(?R)", "(?~a)", "a(?i)b", r"\x4"]
    {
        let error = Pattern::new(pattern).expect_err(pattern);
        assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error}");
    }
}

#[test]
fn a_runaway_expression_is_given_up() {
    let pattern = Pattern::new(r"^(?:(a|aa)(?=a|!))*$").expect("it is right");
    assert!(pattern.is_found(&format!("{}!", "a".repeat(60))).is_err());
}

#[test]
fn newest_matches_whole() {
    let pattern = Pattern::whole(r"v?\d+|latest").expect("it is right");
    assert_eq!(pattern.is_found("v12"), Ok(true));
    assert_eq!(pattern.is_found("v12-rc"), Ok(false));
    assert_eq!(pattern.is_found("xlatest"), Ok(false));
}
