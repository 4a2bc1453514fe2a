//! Runs a server during the test and ends it with the test.
//!
//! Dropping is not enough: what a test binary keeps in a `static` is never
//! dropped, and a killed test drops nothing. So the server runs in a process
//! group of its own under a shell that reads from a pipe of ours. However our
//! end of that pipe closes, the shell kills its whole group.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Starts the server without our pipe, then waits for the pipe's end.
///
/// The shell lets go of its own output so that the reader sees the end of the
/// server's output when the server is gone, not when the shell is. It waits for
/// the server before it ends itself, because some containers have no init that
/// would.
const GUARD: &str = r#"
"$@" </dev/null 2>&1 &
exec >/dev/null 2>&1
read -r _
kill -KILL $!
wait $!
kill -KILL 0
"#;

/// How many lines of output are kept for messages.
const KEPT: usize = 60;

/// A server in its own process group; killed, with its children, on drop.
pub struct Guarded {
    shell: Child,
    pipe: Option<ChildStdin>,
    output: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Guarded {
    /// Starts `program` (found on the PATH) and returns when `ready` finds what
    /// it looks for in a line of the output, standard error included.
    ///
    /// Panics with the output so far when the program ends before that or says
    /// nothing fitting within `limit`. `package` is named as the cure when the
    /// program is not there.
    #[track_caller]
    pub fn spawn<T>(
        program: &str,
        args: &[&str],
        package: &str,
        limit: Duration,
        ready: impl Fn(&str) -> Option<T>,
    ) -> (Guarded, T) {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("could not start sh to run {program}: {e}"));
        let pipe = shell.stdin.take();
        let stdout = shell.stdout.take().expect("its output was asked for");
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let (send, lines) = mpsc::channel();
        let kept = Arc::clone(&output);
        let reader = thread::spawn(move || {
            let mut waiting = Some(send);
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if waiting.as_ref().is_some_and(|w| w.send(line.clone()).is_err()) {
                    waiting = None;
                }
                let mut kept = kept.lock().expect("no holder of this lock panics");
                if kept.len() == KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let server = Guarded { shell, pipe, output, reader: Some(reader) };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = ready(&line) {
                        return (server, found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{program} was not ready after {limit:?}; it said:\n{}", server.output())
                }
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "{program} ended before it was ready (is it installed? apt-get install {package}); it said:\n{}",
                    server.output()
                ),
            }
        }
    }

    /// Returns the last lines of what the server said.
    pub fn output(&self) -> String {
        let lines = self.output.lock().expect("no holder of this lock panics");
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Kills the server and all its children, and returns when they hold our
    /// pipes no more. Does nothing the second time.
    pub fn kill(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
