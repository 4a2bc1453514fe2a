//! The network of the command line: a blocking client on threads.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::proxy::{Proxies, Proxy};
use crate::engine::demo;
use crate::engine::error::{Error, clean};
use crate::engine::registry::http::{
    Failure, IMAGE_LIMIT, Method, Moment, Request, Response, TRIES, TRY_LIMIT, backoff, is_transient,
};
use crate::engine::registry::redirect;
use crate::engine::release::DEMO_HOST;
use crate::engine::session::{Next, Run};
use crate::engine::time::{Millis, Timestamp};

/// Requests in flight at once, to all hosts together.
const IN_FLIGHT: usize = 64;
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// A client that sends one request at a time and can be shared by threads.
#[derive(Debug)]
struct Client {
    direct: ureq::Agent,
    proxies: Proxies,
    /// One for each proxy, and whether it is handed whole addresses.
    by_proxy: Mutex<HashMap<(Proxy, bool), ureq::Agent>>,
}

/// The client of this process: its connections are kept from one run to the next.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client { direct: config(None).new_agent(), proxies: Proxies::from_env(), by_proxy: Mutex::default() })
}

fn config(proxy: Option<ureq::Proxy>) -> ureq::config::Config {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        // Each is looked at before it is followed.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections_per_host(IN_FLIGHT)
        .max_idle_connections(2 * IN_FLIGHT)
        .user_agent(concat!("overtag/", env!("CARGO_PKG_VERSION")))
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
        .proxy(proxy)
        .build()
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
                Some(_) if request.method == Method::Post => {
                    return Err(Failure::RedirectRefused("a login is not sent to another address".to_owned()));
                }
                Some(location) => request = redirect::redirected(&request, &location).map_err(Failure::RedirectRefused)?,
            }
        }
        Err(Failure::RedirectRefused("too many redirects".to_owned()))
    }

    /// The agent for an address, and its proxy where that is handed the whole address.
    fn agent(&self, url: &str) -> Result<(ureq::Agent, Option<&Proxy>), Failure> {
        let proxy = self.proxies.of(url).map_err(|e| Failure::Network(e.to_string()))?;
        let Some(proxy) = proxy else { return Ok((self.direct.clone(), None)) };
        let forwards = proxy.forwards(url);
        let mut known = self.by_proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = match known.get(&(proxy.clone(), forwards)) {
            Some(agent) => agent.clone(),
            None => {
                let agent = match forwards {
                    true => proxy.forwarding_agent(config(None)),
                    false => proxy.tunnel().ok().map(|proxy| config(Some(proxy)).new_agent()),
                };
                let unusable = || Failure::Network(format!("the proxy {} cannot be used", proxy.place()));
                known.entry((proxy.clone(), forwards)).or_insert(agent.ok_or_else(unusable)?).clone()
            }
        };
        Ok((agent, Some(proxy).filter(|_| forwards)))
    }

    /// One request and its answer, and where that redirects to.
    fn exchange(&self, request: &Request, limit: Duration) -> Result<(Response, Option<String>), Failure> {
        let (agent, proxy) = self.agent(&request.url)?;
        let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(&request.url);
        builder = builder.header("Accept-Encoding", "gzip");
        if let Some(accept) = request.accept {
            builder = builder.header("Accept", accept);
        }
        if let Some(authorization) = &request.authorization {
            builder = builder.header("Authorization", authorization.reveal());
        }
        if request.xhr {
            builder = builder.header("X-Requested-With", "XMLHttpRequest");
        }
        if let Some(authorization) = proxy.and_then(Proxy::authorization) {
            builder = builder.header("Proxy-Authorization", authorization);
        }
        let unfit = |e: ureq::http::Error| Failure::Network(e.to_string());
        let answer = match &request.form {
            Some(form) => {
                builder = builder.header("Content-Type", "application/x-www-form-urlencoded");
                let prepared = builder.body(form.reveal().to_owned()).map_err(unfit)?;
                agent.run(agent.configure_request(prepared).timeout_global(Some(limit)).build())
            }
            None => {
                let prepared = builder.body(()).map_err(unfit)?;
                agent.run(agent.configure_request(prepared).timeout_global(Some(limit)).build())
            }
        };
        let answer = answer.map_err(|e| failure(&e))?;
        let mut response = Response { status: answer.status().as_u16(), ..Response::default() };
        for name in Response::HEADERS {
            // Several headers of a name mean the same as one with commas (RFC 9110, 5.3).
            let values: Vec<&str> = answer.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            if !values.is_empty() {
                response.set_header(name, &values.join(", "));
            }
        }
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (location, encoding) = (header("location"), header("content-encoding").unwrap_or_default());
        if let Some(proxy) = proxy {
            // A page for people is the proxy's own, but for a registry's web server that asks for a login, or says "too many".
            let is_page = response.status >= 400 && response.content_type == "text/html" && response.status != 429;
            let queries = response.status == 401 && response.challenge.is_some();
            if response.status == 407 || is_page && !queries {
                let message =
                    format!("the proxy {}, or a server that is not a registry, returned {}", proxy.place(), response.status);
                return Err(Failure::Network(message));
            }
        }
        // These have no body, or one that nobody looks at, whatever their headers say of it (RFC 9110, 9.3.2 and 15.3.5).
        let has_body = request.method != Method::Head && !matches!(response.status, 204 | 205 | 304);
        if has_body {
            let read = read_all(answer.into_body().into_reader(), request.limit);
            let is_read_for_headers = response.status == 401 || (300..400).contains(&response.status);
            match read {
                Err(_) if is_read_for_headers => {}
                Err(e) if e.kind() == std::io::ErrorKind::TimedOut => return Err(Failure::Timeout),
                Err(e) => return Err(failure(&ureq::Error::from(e))),
                Ok(raw) if raw.len() > request.limit => return Err(Failure::TooLarge(request.limit)),
                Ok(raw) => match decoded(raw, &encoding, request.limit) {
                    Ok(body) => response.body = body,
                    Err(_) if is_read_for_headers => {}
                    Err(failure) => return Err(failure),
                },
            }
        }
        Ok((response, location))
    }
}

/// Reads a body to its end, of one that is larger than `limit` one byte more. Memory for a large one is reserved at once: what is not
/// touched costs nothing, and glibc gives a block back to the system as soon as it is freed only if the block is over 32 MiB, or
/// larger than all that were freed before (`M_MMAP_THRESHOLD`, <https://man7.org/linux/man-pages/man3/mallopt.3.html>).
fn read_all(mut reader: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    const SMALL: usize = 1 << 20;
    const AT_ONCE: usize = 33 << 20;
    let mut body = Vec::new();
    reader.by_ref().take(SMALL.min(limit + 1) as u64).read_to_end(&mut body)?;
    if body.len() == SMALL {
        // Where so much cannot be had, it grows as it is read.
        _ = body.try_reserve_exact(limit.max(AT_ONCE));
        reader.take((limit + 1 - SMALL) as u64).read_to_end(&mut body)?;
    } else {
        body.shrink_to_fit();
    }
    Ok(body)
}

/// A body without its content codings (RFC 9110, 8.4); an empty one has none, whatever its headers say.
fn decoded(mut body: Vec<u8>, encoding: &str, limit: usize) -> Result<Vec<u8>, Failure> {
    for coding in encoding.rsplit(',').map(|c| c.trim().to_ascii_lowercase()).filter(|c| !c.is_empty() && c != "identity") {
        if body.is_empty() {
            return Ok(body);
        }
        if !matches!(coding.as_str(), "gzip" | "x-gzip") {
            let message = format!("the response is encoded as {}, which was not requested", clean(&coding));
            return Err(Failure::Network(message));
        }
        match read_all(flate2::read::MultiGzDecoder::new(body.as_slice()), limit) {
            Err(_) => return Err(Failure::Network("the response is not encoded as its headers say".to_owned())),
            Ok(plain) if plain.len() > limit => return Err(Failure::TooLarge(limit)),
            Ok(plain) => body = plain,
        }
    }
    Ok(body)
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

/// Now, by the clock of this machine.
pub fn clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// Reads a file from the web, e.g. a template.
///
/// # Errors
/// One phrase, where there is no answer or no 200.
pub fn fetch(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let client = client();
    client.proxies.of(url).map_err(|e| e.to_string())?;
    let (request, start) = (Request::get(url.to_owned(), limit), Instant::now());
    let mut tried = 0;
    loop {
        tried += 1;
        let outcome = client.once(&request, IMAGE_LIMIT.saturating_sub(start.elapsed()).min(TRY_LIMIT));
        if tried < TRIES && is_transient(&outcome) && start.elapsed() < IMAGE_LIMIT {
            std::thread::sleep(backoff(tried, random()));
            continue;
        }
        return match outcome {
            Ok(response) if response.status == 200 => Ok(response.body),
            Ok(response) => Err(format!("the server returned {}", response.status)),
            Err(Failure::Network(why) | Failure::RedirectRefused(why)) => Err(why),
            Err(Failure::TooLarge(limit)) => Err(format!("it is larger than {} MiB", limit >> 20)),
            Err(_) => Err("the server timed out".to_owned()),
        };
    }
}

/// Drives `run` to its end. `progress` is called now and then, with the time on the clock of the run.
///
/// # Errors
/// A proxy setting that names no proxy, where one is to be asked through it: nothing is asked then.
pub fn drive(run: Run, progress: &(dyn Fn(&Run, Millis) + Sync)) -> Result<Run, Error> {
    let client = client();
    if run.snapshot().is_none() {
        let hosts = run.resolver().images().iter().filter_map(|image| Some(&image.reference.as_ref().ok()?.repository.host));
        for host in hosts.filter(|host| *host != DEMO_HOST) {
            client.proxies.of(&run.endpoint(host))?;
        }
    }
    // One clock for the whole process: what a run noted goes on counting where it is driven again.
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let now = || Moment { ms: Millis(start.elapsed().as_millis() as u64), unix: clock(), random: random() };
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
                        Next::Wait(until) => until.since(now().ms).clamp(Duration::from_millis(1), Duration::from_millis(200)),
                        Next::Idle => Duration::from_secs(1),
                    };
                    let Ok((again, _)) = changed.wait_timeout(run, pause) else { return };
                    run = again;
                    progress(&run, now().ms);
                }
            });
        }
    });
    Ok(shared.into_inner().unwrap_or_else(PoisonError::into_inner))
}
