//! A user's own templates: the Jinja2 they may use, errors and their place, and that no template hangs the page.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use overtag::engine::release::Value;
use overtag::engine::template::entries;
use overtag::engine::template::{Source, render};

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn rendered(text: &str, includes: &[Source], variables: &[(&str, Value)]) -> Result<String, String> {
    let variables: BTreeMap<String, Value> = variables.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
    render(&source("own.j2", text), includes, &variables).map(|r| r.text).map_err(|e| e.to_string())
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[test]
fn jinja2_features_of_real_templates_work() {
    let cases = [
        ("{{ a }}{{ b }}", "x"),
        ("{{ a|default('d') }}{{ b|default('d') }}{{ none|default('d', true) }}", "xdd"),
        ("{% if a.endswith('x') and not a.startswith('y') %}{{ a.upper() ~ a.replace('x', 'z') }}{% endif %}", "Xz"),
        ("{{ 'a-b-c'.split('-')|join('+') }} {{ 'k'.join(['1','2']) }} {{ ' s '.strip() }}", "a+b+c 1k2 s"),
        ("{%- set p = a if a[-1:] == '-' else a ~ '-' -%}{{ p }}", "x-"),
        ("{% for i in [1,2] if i > 1 %}{{ loop.index }}:{{ i }}{% else %}no{% endfor %}", "1:2"),
        ("{% macro m(n, t='t') %}<{{ n }}{{ t }}>{% endmacro %}{{ m('q') }}", "<qt>"),
        ("{% if b is defined %}1{% elif a in ['x'] %}2{% endif %}", "2"),
        ("{{ yes }} {% if no %}1{% else %}0{% endif %} {{ nothing is none }}", "true 0 true"),
        ("a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n\nb\n\nc"),
        ("<{{ '&' }}>", "<&>"),
    ];
    let variables = [("a", text("x")), ("yes", Value::Bool(true)), ("no", Value::Bool(false)), ("nothing", Value::None)];
    for (template, want) in cases {
        assert_eq!(rendered(template, &[], &variables).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn include_is_read_beside_the_template() {
    let includes = [source("ceph.j2", "ceph={{ tag }}{% include 'deep/more.j2' %}"), source("more.j2", "+more")];
    let out = rendered("{% include 'ceph.j2' %}", &includes, &[("tag", text("v4"))]);
    assert_eq!(out.as_deref(), Ok("ceph=v4+more"));
    let missing = rendered("\n  {% include 'gone.j2' %}", &[], &[]).expect_err("it is not there");
    assert!(missing.contains("gone.j2") && missing.contains("own.j2, line 2"), "{missing}");
    let inner = rendered("{% include 'ceph.j2' %}", &[source("ceph.j2", "\n\n{{ 1 + }}")], &[]).expect_err("it is wrong");
    assert!(inner.contains("ceph.j2, line 3"), "{inner}");
}

#[test]
fn template_error_names_line_and_column() {
    for (template, place, word) in [
        ("ok\n  {{ a b }}", "own.j2, line 2, column 8: `{{ a b }}`", "unexpected"),
        ("{% if x %}\nopen", "own.j2, line 1", "end of"),
        ("a\n{{ 'x'|nofilter }}", "own.j2, line 2, column 8: `{{ 'x'|nofilter }}`", "nofilter"),
        ("{{ 'é' }} {{ 1 / 'a' }}", "own.j2, line 1, column 14", "operat"),
        ("{{ a.b.c }}", "own.j2, line 1", "undefined"),
    ] {
        let error = rendered(template, &[], &[]).expect_err(template);
        assert!(error.contains(place) && error.to_lowercase().contains(word), "{template}: {error}");
    }
    for (yaml, place) in [
        ("container_images_template:\n- imagename: [", "what own.j2 renders to, line 2"),
        ("container_images_template:\n- imagename: \"a\n  b: c", "what own.j2 renders to, line"),
    ] {
        let error = entries::read("own.j2", yaml, &mut Vec::new()).expect_err(yaml).to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn undefined_variable_is_empty_and_reported() {
    let template = source("own.j2", "{{ known }}\n{{ first }}{% if third is defined %}{% endif %}\n  {{ second }}");
    let known = BTreeMap::from([("known".to_owned(), text("k"))]);
    let out = render(&template, &[], &known).expect("it renders");
    assert_eq!(out.text, "k\n\n  ");
    let reported: Vec<String> = out.undefined.iter().map(ToString::to_string).collect();
    assert_eq!(reported.len(), 2, "{reported:?}");
    assert!(reported[0].contains("`first`") && reported[0].contains("line 2, column 4"), "{reported:?}");
    assert!(reported[1].contains("`second`") && reported[1].contains("line 3"), "{reported:?}");
}

/// A list whose text has ten to the power of twelve parts.
const NEST: &str = "{% set ns = namespace(x=['a']) %}\
                    {% for i in range(12) %}{% set ns.x = [ns.x, ns.x, ns.x, ns.x, ns.x, ns.x, ns.x, ns.x, ns.x, ns.x] %}{% endfor %}";

#[test]
fn a_runaway_template_ends_in_an_error() {
    let straight = format!("{{% set x = ['a'] %}}{}", "{% set x = [x,x,x,x,x,x,x,x,x,x] %}".repeat(12));
    let started = Instant::now();
    for template in [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}",
        "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m(['a']) }}",
        "{% macro m(x, y=[x, x]) %}{{ m(y) }}{{ y|string }}{% endmacro %}{{ m(['a']) }}",
        "{{ 'x' * 999999999 }}",
        "{{ 'x'.center(99999999999) }}",
        "{{ '%999999999d'|format(1) }}",
        "{% set x = [1] %}{% set ns = namespace(x=x) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}x",
        "{% set x = [[1] * 9999999] * 9999999 %}",
        "{% set x = ([1, 2] * 999999) ~ 'a' %}",
        "{% set x = 9999999 * [range(9)] %}",
        "{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x }}",
        "{% set x = range(99999)|list %}{% for i in range(99999) %}{% if 5 in x %}{% endif %}{% endfor %}",
        "{% set x = range(999999999)|list %}",
    ] {
        let error = rendered(template, &[], &[]).expect_err(template);
        assert!(error.contains("own.j2"), "{error}");
    }
    for end in [
        "{% set y = x|tojson %}",
        "{% set y = x|string %}",
        "{% set y = x ~ 'a' %}",
        "{% set y = 'a' ~ x %}",
        "{% set y = x|join %}",
        "{% set y = x|pprint %}",
        "{% set y = [x]|join('-') %}",
        "{% set y = x|map('string')|list %}",
        "{% set y = x|unique|list %}",
        "{% set y = x|sort %}",
        "{% set y = '%s'|format(x) %}",
        "{% set y = 'a'.replace('a', x) %}",
        "{% set y = [x]|last|string %}",
        "{% set y = (x, x)|string %}",
        "{% set y = {'a': x}|string %}",
        "{% set y = {'a': x}|items|list|string %}",
        "{% set y = x == [x] %}",
        "{% set y = x < x %}",
        "{% set y = x in [x, x] %}",
        "{% set y = x is eq(x) %}",
        "{% if x == x %}{% endif %}",
        "{% filter replace('a', x|string) %}a{% endfilter %}",
        "{% set y | replace('a', x) %}a{% endset %}",
        "{% for i in x|string %}{% endfor %}",
        "{% with y = x|string %}{% endwith %}",
        "{% macro m(y=x|string) %}{% endmacro %}{{ m() }}",
        "{% include x %}",
        "{{ x }}",
        "{{ x|string|length }}",
        "{{ dict(a=x)|string }}",
        "{{ x[0:5]|string }}",
        "{{ x if x|string else 1 }}",
    ] {
        for template in [format!("{straight}{end}"), format!("{NEST}{{% set x = ns.x %}}{end}")] {
            let error = rendered(&template, &[], &[]).expect_err(&template);
            assert!(error.contains("own.j2"), "{error}");
        }
    }
    // Not a measurement, only a limit that an endless loop would exceed.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn expanding_template_call_is_refused() {
    // A few characters of template would make megabytes of text, or minutes of work.
    let layers = |begin: &str, more: &str, n: usize| format!("{begin}{}{{{{ x|length }}}}", more.repeat(n));
    let large = "{% set s = 'a' * 900000 %}{% set l = [s, s, s, s, s, s, s, s] %}";
    let many = format!("{large}{}", "{% set l = (l|chain(l))|list %}".repeat(13));
    let mut templates: Vec<String> = [
        "{{ [[[1]]]|tojson(indent=1000000000) }}",
        "{% set x = range(90000)|list %}{{ x|tojson(10000)|length }}",
        "{% set s = 'a' * 100000 %}{{ s.replace('a', s)|length }}",
        "{% set s = 'a' * 100000 %}{{ s.replace('', s)|length }}",
        "{% set s = 'a' * 100000 %}{% set l = range(50000)|list %}{{ s.join(l)|length }}",
        "{% set f = '{0}' * 90000 %}{% set a = 'a' * 30000 %}{{ f.format(a)|length }}",
        "{{ '{:>900000000}'.format('a')|length }}",
        "{{ '{:.900000000f}'.format(1.0)|length }}",
        "{{ '{:>{}}'.format('a', 900000000)|length }}",
        "{% set l = range(90000)|list %}{% set f = '{0}' * 30000 %}{{ f.format(l)|length }}",
        "{% set s = 'a' * 900000 %}{{ s.strip('b' * 900000 ~ 'a')|length }}",
        "{% set s = 'a' * 900000 %}{{ s|trim('b' * 900000 ~ 'a')|length }}",
        "{% set l = range(90000)|list %}{% set f = '%(a)s' * 30000 %}{{ f|format(a=l)|length }}",
        "{{ 'a\nb'|indent(1000000000) }}",
        "{% set x = 1000000 * tag|list %}",
        "{% set x = 3 * 'abc'|list %}",
        "{{ ','.join(900000 * tag|list)|length }}",
    ]
    .map(str::to_owned)
    .into();
    for end in [
        "l|sort",
        "l|max",
        "l|unique|list",
        "l|join|length",
        "l|tojson|length",
        "l|string|length",
        "l|pprint|length",
        "'{}'.format(l)|length",
    ] {
        templates.push(format!("{many}{{% set z = {end} %}}"));
    }
    for template in &templates {
        let error = rendered(template, &[], &[("tag", text("t"))]).expect_err(template);
        assert!(error.contains("own.j2"), "{error}");
    }
    // Lazy values do not add up to the limit.
    for (template, length) in [
        (layers("{% set x = [1] %}", "{% set x = x|chain([]) %}", 3000), "1"),
        (layers("{% set x = [1] %}", "{% set x = []|chain(x) %}", 3000), "1"),
        (layers("{% set x = [1] %}", "{% set x = x[0:] %}", 3000), "1"),
        (layers("{% set x = [1] %}", "{% set x = x + [] %}", 3000), "1"),
        (layers("{% set x = {'a': 1} %}", "{% set x = x|chain({}) %}", 3000), "1"),
    ] {
        assert_eq!(rendered(&template, &[], &[]).as_deref(), Ok(length));
    }
    // Ordinary calls still work.
    for (template, want) in [
        ("{{ 'a-b'.replace('-', '_') }}{{ ', '.join(['a', 'b']) }}", "a_ba, b"),
        ("{{ '{}:{:>4}'.format('a', 'b') }}{{ '%s-%03d'|format('a', 7) }}", "a:   ba-007"),
        ("{{ '  a '|trim }}{{ 'xax'|trim('x') }}{{ 'xax'.strip('x') }}", "aaa"),
        (
            "{{ [1, 2]|chain([3])|list }}{{ {'a': 1}|chain({'b': 2})|length }}{{ (1, 2)[0:1] }}{{ [1, 2][1:] }}",
            "[1, 2, 3]2(1,)[2]",
        ),
        ("{{ {'b': 1, 'a': [2]}|tojson }}{{ [1]|tojson(indent=2) }}", "{\"a\": [2], \"b\": 1}[\n  1\n]"),
        ("{{ range(3) }}{{ range(3)|map('string')|list|length }}{{ 'a b'.split() }}", "[0, 1, 2]3['a', 'b']"),
    ] {
        assert_eq!(rendered(template, &[], &[]).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn deep_template_chain_is_refused() {
    // It would overflow the stack. The error names its line.
    for (begin, middle, end) in [
        ("{% if 0 %}", "{% elif 0 %}", "{% endif %}"),
        ("{{ 1", "+1", " }}"),
        ("{{ 1", "~1", " }}"),
        ("{{ 1", "**1", " }}"),
        ("{{ 1", " or 1", " }}"),
        ("{{ 1", "==1", " }}"),
        ("{{ ", "not ", "x }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ x", "|trim", " }}"),
        ("{{ x", ".a", " }}"),
        ("{{ x", "[0]", " }}"),
        ("{{ x", "()", " }}"),
        ("{{ x", " is defined", " }}"),
        ("{{ 1", " if 1", " }}"),
        ("{{ 1", " if 1 else 1", " }}"),
        ("{{ ", "[", ""),
        ("{{ ", "(", ""),
        ("{{ ", "{1:", ""),
        ("", "{% if 1 %}", ""),
        ("", "{% for x in y %}", ""),
        ("", "{% set x %}", ""),
        ("{% filter trim", "|trim", " %}{% endfilter %}"),
        ("{% macro m(a", ",a", ") %}{% endmacro %}"),
        ("{% set a", ",a", " = 1 %}"),
        ("{% set x = 1 %}{{ x is", " not", " none }}"),
    ] {
        for n in [400, 5_000, 40_000] {
            let template = format!("a\n{begin}{}{end}", middle.repeat(n));
            match rendered(&template, &[], &[]) {
                Ok(_) => assert!(n == 400, "{begin}{middle}{end}"),
                Err(error) => assert!(error.contains("own.j2, line 2"), "{error}"),
            }
        }
    }
    // The same in an included file.
    let include = source("ceph.j2", &format!("\n\n{{{{ 1{} }}}}", "+1".repeat(5000)));
    let error = rendered("{% include 'ceph.j2' %}", &[include], &[]).expect_err("too long");
    assert!(error.contains("ceph.j2, line 3"), "{error}");
}

#[test]
fn image_list_is_read_unchanged() {
    let yaml = "
ignored: 1
container_images_template:
- imagename: a/b:c
  params: [P]
  other: {z: 1, a: [x]}
- {imagename: a/b:c, services: null}
";
    let entries = entries::read("t", yaml, &mut Vec::new()).expect("it is right");
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].params, ["P"]);
    assert_eq!(entries[0].rest.keys().collect::<Vec<_>>(), ["other"]);
    for wrong in ["", "a: 1", "container_images_template: null", "container_images: []", "container_images_template: [1]", "- a"]
    {
        assert!(entries::read("t", wrong, &mut Vec::new()).is_err(), "{wrong}");
    }
    assert_eq!(entries::read("t", "container_images_template: []", &mut Vec::new()).map(|e| e.len()), Ok(0));
}
