//! Cases as files: each is run, and what a user sees of it is compared with the snapshot beside it.
//!
//! | folder | a case is | its snapshot |
//! | --- | --- | --- |
//! | `cases/command` | shell lines that run `overtag`, without a network, in an empty folder; `$CASES` is `tests/cases` | output, errors, exit status |
//! | `cases/link` | the query of a link | each notice, the view, how many images are selected, and the link that is written for it |
//! | `cases/template` | a template | its entries, or the error |
//!
//! A new case is a new file. `INSTA_UPDATE=always cargo test --test cases` writes the snapshots; look at the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use overtag::engine::options::link;
use overtag::engine::options::settings::Settings;
use overtag::engine::template::Files;
use overtag::engine::template::Source;
use overtag::engine::template::plan::Plan;

/// Runs every case of a folder, and compares what it shows with its snapshot.
fn each(folder: &str, show: impl Fn(&Path) -> String) {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(&at);
    // How many requests are sent depends on which answer comes first; `cli` and `board` hold the count.
    settings.add_filter(r#"\d+ requests|("requests"|"total"): \d+"#, "[requests]");
    settings.bind(|| {
        insta::glob!(&at, "*.case", |path| {
            let case = fs::read_to_string(path).expect("the case can be read");
            insta::with_settings!({ description => case.trim_end(), snapshot_suffix => "" }, {
                let name = path.file_stem().expect("a case has a name").to_string_lossy();
                insta::assert_snapshot!(name.as_ref(), show(path));
            });
        });
    });
}

#[test]
fn commands_print_their_snapshot() {
    let program = Path::new(env!("CARGO_BIN_EXE_overtag")).parent().expect("a program is in a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    each("command", |case| {
        let folder = tempfile::tempdir().expect("a folder");
        let done = Command::new("sh")
            .arg(case)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &path)
            .env("HOME", folder.path())
            .env("CASES", case.ancestors().nth(2).expect("cases have a folder"))
            .env("SOURCE_DATE_EPOCH", "1496105356")
            .output()
            .expect("sh runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}-- standard error\n{}-- status {}\n", text(&done.stdout), text(&done.stderr), done.status.code().unwrap_or(-1))
    });
}

#[test]
fn links_select_their_snapshot() {
    each("link", |case| {
        let link = fs::read_to_string(case).expect("the case can be read");
        let (choices, notices) = link::read(link.trim_end());
        let (settings, wrong) = Settings::new(&choices, false);
        let mut shown = String::new();
        for notice in notices.iter().chain(&wrong) {
            writeln!(shown, "notice: {notice}").expect("a String takes all");
        }
        let images = Plan::new(&settings, &Files::default()).map_or_else(|e| e.to_string(), |plan| plan.images.len().to_string());
        write!(shown, "view: {:?}\nimages: {images}\nwritten: ?{}\n", settings.view, link::write(&choices, false))
            .expect("a String takes all");
        shown
    });
}

#[test]
fn templates_render_their_snapshot() {
    each("template", |case| {
        let text = fs::read_to_string(case).expect("the case can be read");
        let settings = Settings::new(&link::read("tag=a-tag").0, true).0;
        let files = Files { template: Some(Source { name: "case".to_owned(), text }), ..Files::default() };
        match Plan::new(&settings, &files) {
            Ok(plan) => {
                let mut shown = String::new();
                for warning in &plan.warnings {
                    writeln!(shown, "warning: {warning}").expect("a String takes all");
                }
                for image in &plan.images {
                    writeln!(shown, "{} {} {:?} ({})", image.short, image.imagename, image.params, image.why)
                        .expect("a String takes all");
                }
                shown
            }
            Err(error) => format!("error: {error}\n"),
        }
    });
}
