//! The network of the command line: a blocking client on threads.

use std::io::Read;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::release::DEMO_HOST;
use crate::engine::run::{Next, Run};
use crate::engine::wire::{Failure, IMAGE_LIMIT, Moment, Request, Response, TRIES, TRY_LIMIT, backoff, may_pass};
use crate::engine::{demo, guard};

/// Requests in flight at once, to all hosts together.
const IN_FLIGHT: usize = 64;
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// A client that sends one request at a time and can be shared by threads.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
}

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Each is looked at before it is followed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(IN_FLIGHT)
            .max_idle_connections(2 * IN_FLIGHT)
            .user_agent(concat!("overtag/", env!("CARGO_PKG_VERSION")))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
            .build();
        Self { agent: config.new_agent() }
    }
}

impl Client {
    /// Sends `request` once, and follows redirects that may be followed.
    fn once(&self, request: &Request, limit: Duration) -> Result<Response, Failure> {
        // The demo's registry is made up, and so are its answers: it needs no network.
        if request.url.split('/').nth(2) == Some(DEMO_HOST) {
            return Ok(demo::respond(request));
        }
        let (start, mut request) = (Instant::now(), request.clone());
        for _ in 0..=REDIRECTS {
            let (response, location) = self.exchange(&request, limit.saturating_sub(start.elapsed()))?;
            match location.filter(|_| matches!(response.status, 301 | 302 | 303 | 307 | 308)) {
                None => return Ok(response),
                Some(location) => request = guard::redirected(&request, &location).map_err(Failure::Astray)?,
            }
        }
        Err(Failure::Astray("there is no end of it".to_owned()))
    }

    /// One request and its answer, and where that redirects to.
    fn exchange(&self, request: &Request, limit: Duration) -> Result<(Response, Option<String>), Failure> {
        let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(&request.url);
        if let Some(accept) = request.accept {
            builder = builder.header("Accept", accept);
        }
        if let Some(authorization) = &request.authorization {
            builder = builder.header("Authorization", authorization.reveal());
        }
        if request.xhr {
            builder = builder.header("X-Requested-With", "XMLHttpRequest");
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
        let location = answer.headers().get("location").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut reader = answer.into_body().into_reader().take(request.limit as u64 + 1);
        reader.read_to_end(&mut response.body).map_err(|e| match e.kind() {
            std::io::ErrorKind::TimedOut => Failure::Timeout,
            _ => failure(&ureq::Error::from(e)),
        })?;
        if response.body.len() > request.limit {
            return Err(Failure::TooLarge(request.limit));
        }
        Ok((response, location))
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

/// Seconds since 1970.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Reads a file from the web, e.g. a template.
///
/// # Errors
/// One phrase, where there is no answer or no 200.
pub fn fetch(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let (client, request, start) = (Client::default(), Request::get(url.to_owned(), limit), Instant::now());
    let mut tried = 0;
    loop {
        tried += 1;
        let outcome = client.once(&request, IMAGE_LIMIT.saturating_sub(start.elapsed()).min(TRY_LIMIT));
        if tried < TRIES && may_pass(&outcome) && start.elapsed() < IMAGE_LIMIT {
            std::thread::sleep(backoff(tried, random()));
            continue;
        }
        return match outcome {
            Ok(response) if response.status == 200 => Ok(response.body),
            Ok(response) => Err(format!("the server answered {}", response.status)),
            Err(Failure::Network(why) | Failure::Astray(why)) => Err(why),
            Err(Failure::TooLarge(limit)) => Err(format!("it is larger than {} MiB", limit >> 20)),
            Err(_) => Err("the server did not answer in time".to_owned()),
        };
    }
}

/// Drives `run` to its end. `progress` is told of it now and then, with the milliseconds that have gone by.
pub fn drive(run: Run, progress: &(dyn Fn(&Run, u64) + Sync)) -> Run {
    let client = Client::default();
    let start = Instant::now();
    let now = || Moment { ms: start.elapsed().as_millis() as u64, unix: unix(), random: random() };
    let shared = Mutex::new(run);
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                let Ok(mut run) = shared.lock() else { return };
                loop {
                    let next = run.next(now());
                    if run.is_done() {
                        changed.notify_all();
                        return;
                    }
                    let pause = match next {
                        Next::Send(send) => {
                            drop(run);
                            let outcome = client.once(&send.request, send.limit);
                            let Ok(again) = shared.lock() else { return };
                            run = again;
                            run.deliver(send.id, outcome, now());
                            progress(&run, now().ms);
                            changed.notify_all();
                            continue;
                        }
                        Next::Wait(until) => Duration::from_millis(until.saturating_sub(now().ms).clamp(1, 200)),
                        Next::Idle => Duration::from_secs(1),
                    };
                    let Ok((again, _)) = changed.wait_timeout(run, pause) else { return };
                    run = again;
                    progress(&run, now().ms);
                }
            });
        }
    });
    shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
