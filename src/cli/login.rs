//! Logins for the registries that are asked: the authfile's, and those of the credential helpers that it names.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::args::Invocation;
use super::{files, say};
use crate::engine::error::{Error, clean};
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::{Authfile, Helper, Logins};

/// How long a helper may take: it may ask its user for a password.
const LIMIT: Duration = Duration::from_secs(60);

/// How long its answer may take to end once it has ended itself.
const GRACE: Duration = Duration::from_secs(5);

/// The logins for these repositories. What was found and cannot be used is said once.
pub fn logins(invocation: &Invocation, repositories: &[Repository]) -> Result<Logins, Error> {
    let Some(path) = &invocation.authfile else { return Ok(Logins::default()) };
    let source = files::read(path)?;
    let mut authfile = Authfile::read(&source.text, &source.name)?;
    for helper in authfile.helpers(repositories) {
        match query(&helper) {
            Ok(None) => authfile.has_none(&helper),
            Ok(Some(text)) => authfile.take(&helper, Ok(text)),
            Err(why) => authfile.take(&helper, Err(why)),
        }
    }
    let is_asked = |place: &str| repositories.iter().any(|r| format!("{r}/").starts_with(&format!("{place}/")));
    for (place, why) in authfile.unusable().filter(|(place, _)| is_asked(place)) {
        say(&Error::usage(
            format!("no login for {}", clean(place)),
            why,
            "log in with podman login, or continue without a login",
        ));
    }
    Ok(authfile.logins)
}

/// Asks a helper as docker and podman do: the server on its standard input, the answer on its standard output. None where it says that it
/// has nothing.
fn query(helper: &Helper) -> Result<Option<String>, String> {
    let is_name = helper.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !is_name {
        return Err("its name is not a program's name".to_owned());
    }
    let mut command = Command::new(format!("docker-credential-{}", helper.name));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|e| format!("it cannot be run ({e})"))?;
    // One that does not read what it is asked shows so by its answer.
    _ = child.stdin.take().map(|mut input| input.write_all(helper.server.as_bytes()));
    let output = child.stdout.take();
    // What the helper started may keep its output open for ever.
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        _ = output.map(|output| output.take(1 << 20).read_to_string(&mut text));
        _ = sender.send(text);
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => {
                _ = child.kill();
                return Err(format!("it timed out after {} s", LIMIT.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let left = LIMIT.saturating_sub(start.elapsed()).min(GRACE);
    let text = answer.recv_timeout(left).map_err(|_| "it did not end its output".to_owned())?;
    match status.success() {
        true => Ok(Some(text)),
        false if text.contains("credentials not found") => Ok(None),
        // What may hold a secret is not shown.
        false if text.contains(['{', '"']) => Err(format!("it ended with {status}")),
        false => Err(format!("it reported: {}", text.trim().chars().take(200).collect::<String>())),
    }
}
