//! How far a run is.

use super::say;
use crate::engine::session::Run;
use crate::engine::time::Millis;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Instant;

/// A line on a terminal that says how far a run is, and whom it waits for; elsewhere only a wait of more than 2 s is printed.
pub fn progress() -> impl Fn(&Run, Millis) + Sync {
    let shown = Mutex::new((Instant::now(), None::<Instant>));
    let is_terminal = std::io::stderr().is_terminal();
    move |run: &Run, ms: Millis| {
        let Ok(mut shown) = shown.lock() else { return };
        if shown.0.elapsed().as_millis() < 200 && !run.is_done() {
            return;
        }
        shown.0 = Instant::now();
        if run.is_done() {
            if is_terminal {
                eprint!("\r\x1b[K");
            }
            return;
        }
        let wait = run.waits_for(ms).filter(|(_, pause)| pause.as_millis() > 2000);
        let wait = wait.map(|(host, pause)| format!("waiting {} s for {host}", pause.as_millis().div_ceil(1000)));
        if is_terminal {
            let (_, summary) = run.summarize();
            let known = summary.asked - summary.waiting;
            let wait = wait.map_or_else(String::new, |w| format!(", {w}"));
            eprint!("\r\x1b[K{known} of {} images, {} requests{wait}", summary.asked, run.requests());
            _ = std::io::stderr().flush();
        } else if let Some(wait) = wait.filter(|_| shown.1.is_none_or(|last| last.elapsed().as_secs() >= 10)) {
            shown.1 = Some(Instant::now());
            say(&wait);
        }
    }
}
