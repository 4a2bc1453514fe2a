//! Flags → choices. The flags of the selectors are made from the one table of definitions.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::engine::error::clean;
use crate::engine::options::definitions::{Choices, DEFINITIONS, Group, definition};
use crate::engine::options::link;
use crate::engine::output::{OUTPUTS, Output};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Write the files.
    Prepare,
    /// Print the one tag of an image.
    Discover,
    /// Print the short names.
    ListImages,
    /// Print a link.
    Link,
    /// Write what registries answered, or compare two such files.
    Snapshot,
    /// Print what each channel is.
    Board,
}

/// A command line, understood: plain data, a field for each flag beside the selectors, which are `choices`.
#[derive(Debug)]
pub struct Invocation {
    /// What is to be done.
    pub verb: Verb,
    /// All selectors: the link's, overlaid by the flags.
    pub choices: Choices,
    /// `--link`, as it was given.
    pub link: Option<String>,
    /// `--template-file`
    pub template_file: Option<PathBuf>,
    /// `--roles-file`
    pub roles_file: Option<PathBuf>,
    /// `--environment-file`, in order.
    pub environment_files: Vec<PathBuf>,
    /// Files, and the path that was given for each.
    pub outputs: Vec<(&'static Output, PathBuf)>,
    /// `--format`, where one was given.
    pub format: String,
    /// `--require-whole`
    pub require_whole: Vec<String>,
    /// `--history`
    pub history: bool,
    /// `--since`
    pub since: Option<PathBuf>,
    /// `--no-registry`
    pub no_registry: bool,
    /// `--allow-partial`
    pub allow_partial: bool,
    /// `--image`
    pub image: Option<String>,
    /// `--authfile`
    pub authfile: Option<PathBuf>,
    /// `--output`
    pub output: Option<PathBuf>,
    /// `--compare`
    pub compare: Option<PathBuf>,
    /// The selectors that were given as flags, beside those of the link.
    pub given: Vec<&'static str>,
}

const ABOUT: &str = "Which container images, at exactly which tags, does a channel mean right now?

overtag renders a template of the overcloud's images, queries the registry for those that carry the channel's tag, \
resolves that moving tag to an immutable one, and writes the files that a deployment needs. You can also give \
every choice as a link of the page (--link); a flag beside it overrides the link.";

const EXAMPLES: &str = "Examples:
  overtag prepare                                     the demo: a made-up release, no network
  overtag prepare --release train --tag current-tripleo \\
      --output-images-file overcloud_containers.yaml --output-env-file overcloud_images.yaml
  overtag prepare --release train --namespace 192.168.24.1:8787/tripleotrain --role Controller --role Compute:2
  overtag prepare --release train --tag 'newest:v\\d+(\\.\\d+)+' --missing fail --format json
  overtag list-images --release wallaby --exclude ceph
  overtag discover --image quay.io/tripleotrain/centos-binary-nova-api:current-tripleo --tag-from-label rdo_version
  overtag link --release train --tag current-tripleo
  overtag board --release train --channels tripleo-ci-testing,current-tripleo --require-whole current-tripleo
  overtag snapshot --release train --tag current-tripleo --output snapshot.json
  overtag prepare --release train --tag current-tripleo --snapshot snapshot.json

Exit status:
  0  done
  1  a condition failed: an image is missing under --missing fail, or none is left
  2  wrong usage, or a bad template, reported with file, line and column
  3  a registry could not be queried: which host, its response, what to try";

fn flag(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Set)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    flag(name, "FILE", help).value_parser(value_parser!(PathBuf))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// The selectors, in groups as the page shows them; what only concerns the page is taken, but not shown.
fn selectors(command: Command) -> Command {
    let mut command = command.arg(flag("link", "URL", "A whole link of the page, or its query string").help_heading("Source"));
    for d in DEFINITIONS {
        let heading = match d.group {
            Group::Source => "Source",
            Group::Channel => "Channel",
            Group::Scope => "Scope",
            Group::Output | Group::Page => "Output",
        };
        let action = if d.is_repeatable() { ArgAction::Append } else { ArgAction::Set };
        let mut arg = Arg::new(d.key).long(d.key.replace('_', "-")).value_name(d.value).help(d.help()).action(action);
        arg = arg.help_heading(heading).hide(d.group == Group::Page).allow_hyphen_values(true);
        arg = match d.key {
            "name_prefix" => arg.visible_alias("prefix"),
            "name_suffix" => arg.visible_alias("suffix"),
            _ => arg,
        };
        command = command.arg(arg);
    }
    command
        .arg(
            flag("set", "NAME=VALUE", "Any other substitution of the template; true and false are booleans")
                .action(ArgAction::Append)
                .help_heading("Source"),
        )
        .arg(
            path("template-file", "A template in place of a built-in one; included files are read from its folder")
                .help_heading("Source"),
        )
        .arg(
            path("environment-file", "A Heat environment: counts, services and drivers are taken from it")
                .short('e')
                .action(ArgAction::Append)
                .help_heading("Scope"),
        )
        .arg(path("roles-file", "A roles file in place of the release's default roles").short('r').help_heading("Scope"))
        .arg(
            path("authfile", "Logins as written by podman login or docker login; each is sent only to its own registry")
                .help_heading("Source"),
        )
        .arg(flag("tag-from-label", "LABEL", "Means --label LABEL --pin label,channel").help_heading("Channel"))
}

fn prepare() -> Command {
    selectors(Command::new("prepare").about("Write overcloud_containers.yaml and the Heat environment"))
        .args(OUTPUTS.iter().filter_map(|output| output.flag).map(|(name, help)| path(name, help).help_heading("Output")))
        .arg(
            flag("format", "FORMAT", "files, or json: a report on standard output in place of the files")
                .value_parser(["files", "json"])
                .default_value("files")
                .help_heading("Output"),
        )
        .arg(switch("no-registry", "Query no registry: tags stay as the template has them").help_heading("Source"))
        .arg(
            switch("allow-partial", "Write files even if images could not be checked; their head then says INCOMPLETE")
                .help_heading("Output"),
        )
        .after_help(EXAMPLES)
}

fn discover() -> Command {
    selectors(Command::new("discover").about("Print the tag that an image's label names"))
        .arg(flag("image", "NAME[:TAG]", "The image [default tag: latest]").required(true))
        .after_help("There is no fallback: if the label, or the tag that it names, is missing, the exit status is 1.")
}

fn list_images() -> Command {
    selectors(Command::new("list-images").about("Print the images to build, one short name per line"))
        .after_help("For example, for kolla-build: overtag list-images --release rocky | xargs kolla-build")
}

fn link() -> Command {
    selectors(Command::new("link").about("Print the link for these choices, in its fixed order and without defaults"))
}

fn snapshot() -> Command {
    selectors(Command::new("snapshot").about("Write the registries' responses to one file, to read in place of the registries"))
        .arg(path("output", "Where to write the snapshot [default: standard output]").help_heading("Output"))
        .arg(
            path("since", "An earlier snapshot whose tag history is extended; ignored if the file does not exist yet")
                .help_heading("Output"),
        )
        .arg(
            path("compare", "Print what moved since this older snapshot, instead of writing one; works offline with --snapshot")
                .help_heading("Output"),
        )
        .arg(
            switch("allow-partial", "Write it even if images could not be checked; it then says which, and why")
                .help_heading("Output"),
        )
        .after_help(
            "Open it on the page with snapshot=ADDRESS; deploy/ has a job that keeps it fresh.\n  \
             overtag snapshot --snapshot new.json --compare old.json      compares two offline",
        )
}

fn board() -> Command {
    selectors(Command::new("board").about("Print the state of each channel: whole or torn, since when, what blocks it"))
        .arg(
            flag("format", "FORMAT", "table, json, or svg (a badge for one channel, a summary for several)")
                .value_parser(["table", "json", "svg"])
                .default_value("table")
                .help_heading("Output"),
        )
        .arg(path("output", "Where to write the board [default: standard output]").help_heading("Output"))
        .arg(
            flag("require-whole", "CHANNEL", "Exit with status 1 unless this channel is whole")
                .action(ArgAction::Append)
                .help_heading("Channel"),
        )
        .arg(
            switch("history", "Query the promotion history from registries that report it: a few more requests per channel")
                .help_heading("Channel"),
        )
        .after_help(
            "  overtag board --release train --channels tripleo-ci-testing,current-tripleo --require-whole current-tripleo\n  \
             overtag board --channels current-tripleo --format svg --output badge.svg\n\n\
             --status absent,unresolved,error,torn,mismatch,unproven shows only what is wrong in the table; --q, --sort and --group work as on the page.",
        )
}

fn command() -> Command {
    Command::new("overtag")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT.lines().next().unwrap_or_default())
        .long_about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([prepare(), board(), discover(), list_images(), link(), snapshot()])
}

/// Reads the arguments of a process.
///
/// # Errors
/// clap's, which also carry help and version.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(args)?;
    let wrong = |text: String| clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n"));
    let (verb, m) = match matches.subcommand() {
        Some(("discover", m)) => (Verb::Discover, m),
        Some(("list-images", m)) => (Verb::ListImages, m),
        Some(("link", m)) => (Verb::Link, m),
        Some(("snapshot", m)) => (Verb::Snapshot, m),
        Some(("board", m)) => (Verb::Board, m),
        Some((_, m)) => (Verb::Prepare, m),
        None => return Err(wrong("no command was given".to_owned())),
    };
    let text = |m: &ArgMatches, name: &str| m.try_get_one::<String>(name).ok().flatten().cloned();
    let file = |m: &ArgMatches, name: &str| m.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    let is_on = |name: &str| m.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false);

    let link = text(m, "link");
    let (mut choices, notices) = link::read(link.as_deref().unwrap_or(""));
    for notice in notices {
        if !link::is_harmless(&notice) {
            return Err(wrong(notice.to_string()));
        }
        super::say(&notice);
    }
    let mut given = Vec::new();
    for d in DEFINITIONS {
        let values: Vec<String> = m.get_many::<String>(d.key).into_iter().flatten().cloned().collect();
        if !values.is_empty() {
            given.push(d.key);
            choices.put_all(d.key, values);
        }
    }
    for pair in m.get_many::<String>("set").into_iter().flatten() {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(wrong(format!("`{pair}` has no value: --set: give NAME=VALUE")));
        };
        if definition(name).is_some_and(|d| !d.is_substitution()) {
            return Err(wrong(format!("{name} is not a substitution: --set: give --{}", name.replace('_', "-"))));
        }
        choices.put(name, value);
    }
    if let Some(label) = text(m, "tag-from-label") {
        choices.put("label", label);
        if m.get_one::<String>("pin").is_none() {
            choices.put("pin", "label,channel");
        }
    }
    let environment_files = m.get_many::<PathBuf>("environment-file").into_iter().flatten().cloned().collect();
    Ok(Invocation {
        verb,
        choices,
        link,
        template_file: file(m, "template-file"),
        roles_file: file(m, "roles-file"),
        environment_files,
        outputs: OUTPUTS.iter().filter_map(|output| Some((output, file(m, output.flag?.0)?))).collect(),
        format: text(m, "format").unwrap_or_default(),
        require_whole: m.try_get_many::<String>("require-whole").ok().flatten().into_iter().flatten().cloned().collect(),
        history: is_on("history"),
        since: file(m, "since"),
        no_registry: is_on("no-registry"),
        allow_partial: is_on("allow-partial"),
        image: text(m, "image"),
        authfile: file(m, "authfile"),
        output: file(m, "output"),
        compare: file(m, "compare"),
        given,
    })
}

/// Prints what clap has to say: help and version are answers, all else is one line and a hint.
pub fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        _ = error.print();
        return ExitCode::SUCCESS;
    }
    // It repeats what was typed.
    let text = error.to_string().lines().map(clean).collect::<Vec<_>>().join("\n") + "\n";
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{text}");
        return ExitCode::from(2);
    }
    // The first paragraph says what is wrong, over several lines where it lists arguments.
    let first: Vec<&str> = text.lines().map(str::trim).take_while(|l| !l.is_empty()).collect();
    let first = first.join(" ");
    let first = first.trim_start_matches("error: ");
    let mut lines = text.lines().map(str::trim);
    let tip = lines.find(|l| l.starts_with("tip:")).map_or(String::new(), |t| format!(": {}", t.trim_start_matches("tip: ")));
    eprintln!("overtag: {first}{tip}\nTry overtag --help, or overtag prepare --help.");
    ExitCode::from(2)
}
