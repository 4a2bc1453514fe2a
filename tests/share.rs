//! Links: the round trip, what is reported, and links that are already published.

use overtag::engine::options::definitions::{Choices, DEFINITIONS};
use overtag::engine::options::link::{is_refused, read, write};
use overtag::engine::options::settings::Settings;

/// Published links, and how they are written today. This list only grows.
const GIVEN: [(&str, &str); 12] = [
    ("", ""),
    ("?v=1", ""),
    ("?release=demo", ""),
    ("?tag=current-tripleo&release=train", "release=train"),
    ("?release=train&tag=current&pin=label,sibling,digest&missing=drop&view=prepare", "release=train&tag=current"),
    ("?set.namespace=a.b%2Fc&set.rhel_containers=true", "namespace=a.b%2Fc&set.rhel_containers=true"),
    ("?release=train&name_prefix=&set.rhel_containers=false", "release=train&name_prefix="),
    ("?exclude=b&include=a&exclude=c+d", "include=a&exclude=b&exclude=c+d"),
    ("?endpoint=h%3A1%3Dhttp%3A%2F%2Fh%3A2&role=Controller:3", "role=Controller%3A3&endpoint=h%3A1%3Dhttp%3A%2F%2Fh%3A2"),
    ("https://x.example/y/?tag=newest%3Av%5Cd%2B%23#z", "tag=newest%3Av%5Cd%2B%23"),
    ("?template=t.j2&release=demo", "release=demo&template=t.j2"),
    ("?template=t.j2&release=wallaby&q=&status=absent", "template=t.j2&status=absent"),
];

#[test]
fn published_links_keep_their_meaning() {
    for (link, canonical) in GIVEN {
        let (choices, notices) = read(link);
        assert_eq!(notices, [], "{link}");
        assert_eq!(write(&choices, false), canonical, "{link}");
        assert_eq!(write(&read(canonical).0, false), canonical, "written twice: {link}");
    }
}

#[test]
fn any_choice_value_survives_the_link() {
    let odd = ["a b&c=d#e?f+g%20", "ünï😀", "<script>", "a,b", "\u{1}\n", " ", "%", "a=b=c"];
    for d in DEFINITIONS {
        for value in odd {
            let mut choices = Choices::default();
            choices.add(d.key, value);
            if d.is_repeatable() {
                choices.add(d.key, "second");
            }
            choices.put("other", value);
            let (back, notices) = read(&write(&choices, false));
            assert_eq!((back, notices), (choices, vec![]), "{} {value}", d.key);
        }
    }
}

#[test]
fn unknown_choices_are_reported_and_ignored() {
    for (link, place, word) in [
        ("?colour=red&release=train", "colour=red", "unknown"),
        ("?relase=pike&release=train", "relase=pike", "release"),
        ("?release=train&release=pike", "release=pike", "twice"),
        ("?set.view=board&release=train", "set.view=board", "unknown"),
    ] {
        let (choices, notices) = read(link);
        assert_eq!(choices.get("release"), Some("train"), "{link}");
        assert_eq!(notices.len(), 1, "{link}");
        let line = notices[0].to_string();
        assert!(line.contains(place) && line.contains(word), "{line}");
    }
    assert!(is_refused(&read("?v=2&release=train").1));
    assert!(!is_refused(&read("?v=1&colour=red").1));
}

#[test]
fn invalid_value_is_reported_and_defaulted() {
    for (key, value) in [
        ("release", "trian"),
        ("pin", "label,moon"),
        ("missing", "maybe"),
        ("include", "a(b"),
        ("exclude", "*"),
        ("role", "Controller:many"),
        ("endpoint", "no-address"),
        ("api", "soap"),
        ("sort", "colour"),
        ("status", "fine"),
        ("refresh", "5"),
        ("embed", "yes"),
        ("tag", "a b"),
        ("tag", "newest:("),
        ("label", "{open"),
        ("namespace", "a\"b"),
        ("push_destination", "no such host/X"),
        ("append_tag", "a b"),
        ("template", "javascript:alert(1)"),
    ] {
        let mut choices = Choices::default();
        choices.add(key, value);
        let (settings, wrong) = Settings::new(&choices, false);
        assert_eq!(wrong.len(), 1, "{key}={value}: {wrong:?}");
        assert_eq!(wrong[0].location.to_string(), format!("{key}="));
        assert!(!settings.pin.is_empty());
        assert_eq!(read(&write(&choices, false)).0, choices, "what was typed stays in the link");
    }
}
