//! The command line: flags → choices, files in, files out, exit status. The engine does the rest.

mod args;
mod board;
mod discover;
mod files;
mod inputs;
mod link;
mod list_images;
mod login;
mod prepare;
mod progress;
mod snapshot;

use std::io::Write;
use std::process::ExitCode;

use crate::engine::error::{Error, Kind};
use args::Verb;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let invocation = match args::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(clap) => return args::refuse(&clap),
    };
    let outcome = match invocation.verb {
        Verb::Prepare => prepare::run(&invocation),
        Verb::Discover => discover::run(&invocation),
        Verb::ListImages => list_images::run(&invocation),
        Verb::Link => link::run(&invocation),
        Verb::Snapshot => snapshot::run(&invocation),
        Verb::Board => board::run(&invocation),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(match error.kind {
                Kind::No => 1,
                Kind::Usage | Kind::Template => 2,
                Kind::Registry => 3,
            })
        }
    }
}

/// One line on standard error.
fn say(message: &dyn std::fmt::Display) {
    eprintln!("overtag: {message}");
}

/// Writes to standard output; a reader that went away is not an error of ours.
fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::usage(e.to_string(), "standard output", "")),
        _ => Ok(()),
    }
}
