//! The network of the command line: a blocking client on threads.

use std::io::Read;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::demo;
use crate::engine::release::DEMO_HOST;
use crate::engine::run::Run;
use crate::engine::wire::{Failure, Request, Response, TRY_LIMIT, wait};

/// Requests in flight at once.
const IN_FLIGHT: usize = 64;

/// A client that sends one request at a time and can be shared by threads.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
}

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(IN_FLIGHT)
            .max_idle_connections(2 * IN_FLIGHT)
            .user_agent(concat!("overtag/", env!("CARGO_PKG_VERSION")))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
            .build();
        Self { agent: config.new_agent() }
    }
}

impl Client {
    /// Sends `request` once.
    fn once(&self, request: &Request, limit: Duration) -> Result<Response, Failure> {
        // The demo's registry is made up, and so are its answers: it needs no network.
        if request.url.split('/').nth(2) == Some(DEMO_HOST) {
            return Ok(demo::respond(request));
        }
        let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(&request.url);
        if let Some(accept) = request.accept {
            builder = builder.header("Accept", accept);
        }
        let prepared = builder.body(()).map_err(|e| Failure::Network(e.to_string()))?;
        let prepared = self.agent.configure_request(prepared).timeout_global(Some(limit)).build();
        let answer = self.agent.run(prepared).map_err(|e| failure(&e))?;
        let mut response = Response { status: answer.status().as_u16(), ..Response::default() };
        for name in Response::HEADERS {
            // Several headers of a name mean the same as one with commas (RFC 9110, 5.3).
            let values: Vec<&str> = answer.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            if !values.is_empty() {
                response.set_header(name, &values.join(", "));
            }
        }
        let mut reader = answer.into_body().into_reader().take(request.limit as u64 + 1);
        reader.read_to_end(&mut response.body).map_err(|e| match e.kind() {
            std::io::ErrorKind::TimedOut => Failure::Timeout,
            _ => failure(&ureq::Error::from(e)),
        })?;
        if response.body.len() > request.limit {
            return Err(Failure::TooLarge(request.limit));
        }
        Ok(response)
    }

    /// Sends `request`, again where that can help, for no longer than `budget`; tells how often it was sent.
    pub fn send(&self, request: &Request, budget: Duration) -> (Result<Response, Failure>, u32) {
        let start = Instant::now();
        let mut tried = 0;
        loop {
            tried += 1;
            let left = budget.saturating_sub(start.elapsed());
            let outcome = self.once(request, left.min(TRY_LIMIT));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            let left = budget.saturating_sub(start.elapsed());
            match wait(tried, &outcome, random(), now) {
                Some(pause) if pause < left => std::thread::sleep(pause),
                _ => return (outcome, tried),
            }
        }
    }
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Timeout,
        other => Failure::Network(other.to_string()),
    }
}

/// A number in 0..1, good enough to spread retries: the hasher's keys are random.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Reads a file from the web, e.g. a template.
///
/// # Errors
/// One phrase, where there is no answer or no 200.
pub fn fetch(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let request = Request { method: crate::engine::wire::Method::Get, url: url.to_owned(), accept: None, limit };
    match Client::default().send(&request, crate::engine::wire::IMAGE_LIMIT).0 {
        Ok(response) if response.status == 200 => Ok(response.body),
        Ok(response) => Err(format!("the server answered {}", response.status)),
        Err(Failure::Network(why)) => Err(why),
        Err(Failure::TooLarge(limit)) => Err(format!("it is larger than {} MiB", limit >> 20)),
        Err(_) => Err("the server did not answer in time".to_owned()),
    }
}

/// Drives `run` to its end. `progress` is told of it now and then.
pub fn drive(run: Run, progress: &(dyn Fn(&Run) + Sync)) -> Run {
    let client = Client::default();
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u64;
    let shared = Mutex::new(run);
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                let Ok(mut run) = shared.lock() else { return };
                loop {
                    if run.is_done() {
                        changed.notify_all();
                        return;
                    }
                    match run.next(now()) {
                        Some(send) => {
                            drop(run);
                            let (outcome, tries) = client.send(&send.request, send.budget);
                            let Ok(again) = shared.lock() else { return };
                            run = again;
                            run.deliver(send.id, outcome, tries, now());
                            progress(&run);
                            changed.notify_all();
                        }
                        None if run.is_done() => {}
                        None => {
                            let Ok(again) = changed.wait(run) else { return };
                            run = again;
                        }
                    }
                }
            });
        }
    });
    shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
