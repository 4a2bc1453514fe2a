//! A proxy that counts, delays and breaks requests, or a fake server that
//! answers by itself and records unexpected requests.
//!
//! A request is in the log, with its status, before the client has the answer:
//! a client that is done can be counted at once. What has no fault passes
//! unchanged: keep-alive, HEAD, bodies with their framing, CORS headers.
//!
//! ```ignore
//! let proxy = Proxy::before(&registry.host);
//! proxy.fault(|seen| match seen.nth {
//!     1 if seen.path.contains("/nova-api/") => Some(Fault::text(503, "later")),
//!     _ => None,
//! });
//! ```

use super::http::{Connection, Headers, Message, answer, header};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// A request as the programmed fault sees it.
pub struct Seen {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The request's target: path and query.
    pub path: String,
    /// All header fields.
    pub headers: Vec<(String, String)>,
    /// The body as it was on the wire.
    pub body: Vec<u8>,
    /// How often this method and path were seen so far, this time included.
    pub nth: usize,
}

impl Seen {
    /// Returns a header field, looked up without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// What to do to a request, or to its answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answer with this status, these headers and this body; upstream is not asked.
    Status(u16, Vec<(String, String)>, Vec<u8>),
    /// Say nothing for so long, then close the connection.
    Hang(Duration),
    /// Wait for so long, then pass the request on.
    Slow(Duration),
    /// Close the connection without an answer.
    Drop,
    /// Close the connection half-way through upstream's answer.
    Truncate,
    /// Change upstream's answer.
    Replace(Edit),
}

/// Changes to an answer of the upstream.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Header fields to take away.
    pub hide: Vec<String>,
    /// Header fields to set, in place of any of the same name.
    pub set: Vec<(String, String)>,
    /// A body in place of the one that came.
    pub body: Option<Vec<u8>>,
}

impl Fault {
    /// Answers plain text with the seeded registry's CORS headers.
    pub fn text(status: u16, body: &str) -> Fault {
        Fault::Status(status, with_cors("text/plain; charset=utf-8"), body.as_bytes().to_vec())
    }

    /// Answers JSON with the seeded registry's CORS headers.
    pub fn json(status: u16, body: &serde_json::Value) -> Fault {
        Fault::Status(status, with_cors("application/json"), body.to_string().into_bytes())
    }

    /// Answers with a registry's error: a missing tag or repository, or a refusal.
    pub fn registry_error(status: u16, code: &str) -> Fault {
        let error = serde_json::json!({ "code": code, "message": code.to_lowercase() });
        Fault::json(status, &serde_json::json!({ "errors": [error] }))
    }

    /// Answers with exactly these headers: without CORS ones, a browser's page
    /// cannot read it.
    pub fn bare(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
        let headers = headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Fault::Status(status, headers, body.as_bytes().to_vec())
    }

    /// Lets a preflight pass, for a fake server.
    pub fn preflight() -> Fault {
        Fault::Status(204, cors_headers(), Vec::new())
    }

    /// Takes one header field from upstream's answer.
    pub fn hide(name: &str) -> Fault {
        Fault::Replace(Edit { hide: vec![name.to_owned()], ..Edit::default() })
    }

    /// Sets one header field of upstream's answer.
    pub fn set(name: &str, value: &str) -> Fault {
        Fault::Replace(Edit { set: vec![(name.to_owned(), value.to_owned())], ..Edit::default() })
    }

    /// Puts another body into upstream's answer; its headers stay, but for the length.
    pub fn body(bytes: &[u8]) -> Fault {
        Fault::Replace(Edit { body: Some(bytes.to_vec()), ..Edit::default() })
    }

    /// Adds a header field to a [`Fault::Status`] or to the changes of a
    /// [`Fault::Replace`] (`Retry-After`, say).
    pub fn with(mut self, name: &str, value: &str) -> Fault {
        match &mut self {
            Fault::Status(_, headers, _) => headers.push((name.to_owned(), value.to_owned())),
            Fault::Replace(edit) => edit.set.push((name.to_owned(), value.to_owned())),
            other => panic!("{other:?} has no headers to add {name} to"),
        }
        self
    }
}

/// The CORS headers that the seeded registry sends, for answers in its place.
pub fn cors_headers() -> Vec<(String, String)> {
    super::registry::CORS.iter().map(|(k, v)| (k.to_string(), v.replace('\'', ""))).collect()
}

fn with_cors(mime: &str) -> Headers {
    let mut headers = cors_headers();
    headers.push(("Content-Type".into(), mime.into()));
    headers
}

/// A request as it is in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The request's target: path and query.
    pub path: String,
    /// The status of the answer; `None` before there is one, and for
    /// ever if the connection was closed without one.
    pub status: Option<u16>,
    /// How many bytes the `Accept` header had, if there was one.
    pub accept: Option<usize>,
    /// Whether there was an `Origin` header (a browser's page asked).
    pub origin: bool,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// When it came, counted from the start of the proxy.
    pub at: Duration,
}

type Program = Arc<dyn Fn(&Seen) -> Option<Fault> + Send + Sync>;

/// A running proxy or fake server; closed on drop.
pub struct Proxy {
    /// `127.0.0.1:port`.
    pub host: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Option<String>,
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<Logged>,
    /// Grows when the log is emptied, so that a late answer finds no wrong entry.
    epoch: usize,
    times: HashMap<(String, String), usize>,
    program: Option<Program>,
    delay: Duration,
    /// How many more requests are let in.
    left: Option<usize>,
    held: bool,
    closing: bool,
    failures: Vec<String>,
    in_flight: usize,
    most_in_flight: usize,
    connections: usize,
    next: usize,
    open: HashMap<usize, TcpStream>,
}

impl Proxy {
    /// Starts a proxy in front of `upstream` (host:port).
    #[track_caller]
    pub fn before(upstream: &str) -> Proxy {
        Proxy::start(Some(upstream.to_owned()))
    }

    /// Starts a server that answers what `program` says; a request for which it
    /// says `None` gets 501 and is a failure for [`Proxy::assert_clean`].
    #[track_caller]
    pub fn fake(program: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) -> Proxy {
        let proxy = Proxy::start(None);
        proxy.fault(program);
        proxy
    }

    #[track_caller]
    fn start(upstream: Option<String>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { upstream, started: Instant::now(), state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Proxy { host: address.to_string(), address, shared }
    }

    /// Programs the faults; replaces the program before.
    pub fn fault(&self, program: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        self.shared.lock().program = Some(Arc::new(program));
    }

    /// Takes the program away: all passes.
    pub fn no_fault(&self) {
        self.shared.lock().program = None;
    }

    /// Holds every request for so long, as a distant server would.
    pub fn delay(&self, milliseconds: u64) {
        self.shared.lock().delay = Duration::from_millis(milliseconds);
    }

    /// Lets `n` more requests in; then no request and no connection is answered
    /// any more (connections are closed). A server that is truly gone, its port
    /// closed, is `Registry::kill`.
    pub fn stop_after(&self, n: usize) {
        self.shared.lock().left = Some(n);
    }

    /// Ends what [`Proxy::stop_after`] began.
    pub fn resume(&self) {
        self.shared.lock().left = None;
    }

    /// Holds every request from now on until [`Proxy::release`], so that a test
    /// can look at a client in the middle of its work.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Lets held requests go on.
    pub fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Returns all requests so far, in order of arrival.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.lock().log.clone()
    }

    /// Returns how many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.lock().log.len()
    }

    /// Returns how many requests so far fit a condition.
    pub fn count_where(&self, such: impl Fn(&Logged) -> bool) -> usize {
        self.shared.lock().log.iter().filter(|l| such(l)).count()
    }

    /// Returns how many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Returns the most requests that were under way at once.
    pub fn most_in_flight(&self) -> usize {
        self.shared.lock().most_in_flight
    }

    /// Empties the log and all counts; the program, with its `nth`, and the
    /// settings stay as they are.
    pub fn reset(&self) {
        let mut state = self.shared.lock();
        state.log.clear();
        state.epoch += 1;
        state.connections = 0;
        state.most_in_flight = state.in_flight;
    }

    /// Waits until `n` requests have come; panics with the log after `limit`.
    #[track_caller]
    pub fn wait_for_requests(&self, n: usize, limit: Duration) {
        let state = self.shared.lock();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, limit, |s| s.log.len() < n).expect("no holder of this lock panics");
        let (timed_out, text) = (timeout.timed_out(), lines(&state.log));
        drop(state);
        assert!(!timed_out, "{n} requests did not come within {limit:?}; these did:\n{text}");
    }

    /// Returns the log as text, a line a request, for messages.
    pub fn log_text(&self) -> String {
        lines(&self.shared.lock().log)
    }

    /// Panics when a fake server got a request that nobody expected, or when the
    /// program of faults itself panicked.
    #[track_caller]
    pub fn assert_clean(&self) {
        let state = self.shared.lock();
        let (failures, text) = (state.failures.join("\n"), lines(&state.log));
        drop(state);
        assert!(failures.is_empty(), "{failures}\nall requests:\n{text}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        for stream in state.open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, so that it sees the end and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn lines(log: &[Logged]) -> String {
    log.iter()
        .map(|l| {
            let status = l.status.map_or("no answer".to_owned(), |s| s.to_string());
            format!("{:>6} ms  {} {} -> {status}\n", l.at.as_millis(), l.method, l.path)
        })
        .collect()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Waits while `blocked`, but no longer than `limit`; false if the proxy closes.
    fn wait(&self, limit: Duration, blocked: impl Fn(&State) -> bool) -> bool {
        let state = self
            .changed
            .wait_timeout_while(self.lock(), limit, |s| !s.closing && blocked(s))
            .expect("no holder of this lock panics")
            .0;
        !state.closing
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut state = shared.lock();
        if state.closing {
            return;
        }
        if state.left == Some(0) {
            continue;
        }
        state.connections += 1;
        state.next += 1;
        let id = state.next;
        if let Ok(copy) = stream.try_clone() {
            state.open.insert(id, copy);
        }
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut client = Connection::new(stream);
            let mut upstream = None;
            while let Ok(Some(request)) = client.read_request() {
                let Some(entry) = Entry::new(&shared, &request) else {
                    break;
                };
                if !serve(&shared, &mut client, &mut upstream, &request, &entry) {
                    break;
                }
            }
            // The copy in `open` would hold the connection open otherwise.
            if let Some(stream) = shared.lock().open.remove(&id) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

/// A request's place in the log, and its share of what is in flight.
struct Entry<'a> {
    shared: &'a Shared,
    epoch: usize,
    index: usize,
    seen: Seen,
    ended: Cell<bool>,
}

impl<'a> Entry<'a> {
    /// Notes a request; `None` when no more are let in.
    fn new(shared: &'a Shared, request: &Message) -> Option<Entry<'a>> {
        let mut words = request.start.split(' ');
        let method = words.next().unwrap_or("").to_owned();
        let path = words.next().unwrap_or("").to_owned();
        let mut state = shared.lock();
        match &mut state.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        let nth = state.times.entry((method.clone(), path.clone())).or_default();
        *nth += 1;
        let nth = *nth;
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        let index = state.log.len();
        let epoch = state.epoch;
        state.log.push(Logged {
            method: method.clone(),
            path: path.clone(),
            status: None,
            accept: header(&request.headers, "Accept").map(str::len),
            origin: header(&request.headers, "Origin").is_some(),
            authorization: header(&request.headers, "Authorization").is_some(),
            at: shared.started.elapsed(),
        });
        drop(state);
        shared.changed.notify_all();
        let headers = request.headers.clone();
        let seen = Seen { method, path, headers, body: request.body.clone(), nth };
        Some(Entry { shared, epoch, index, seen, ended: Cell::new(false) })
    }

    /// Notes the answer, before it is sent: the client's next request must not
    /// find this one still counted.
    fn answered(&self, status: u16) {
        let mut state = self.shared.lock();
        if state.epoch == self.epoch {
            state.log[self.index].status = Some(status);
        }
        drop(state);
        self.end();
    }

    fn end(&self) {
        if !self.ended.replace(true) {
            self.shared.lock().in_flight -= 1;
        }
    }

    fn failed(&self, what: &str) {
        let line = format!("{what}: {} {}", self.seen.method, self.seen.path);
        self.shared.lock().failures.push(line);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Deals with one request; false when the connection is to be closed.
fn serve(shared: &Shared, client: &mut Connection, upstream: &mut Option<Connection>, request: &Message, entry: &Entry) -> bool {
    const LONG: Duration = Duration::from_secs(3600);
    let (delay, program) = {
        let state = shared.lock();
        (state.delay, state.program.clone())
    };
    if !shared.wait(LONG, |s| s.held) || (!delay.is_zero() && !shared.wait(delay, |_| true)) {
        return false;
    }
    let fault = match program.map(|p| catch_unwind(AssertUnwindSafe(|| p(&entry.seen)))) {
        Some(Ok(fault)) => fault,
        Some(Err(_)) => {
            entry.failed("the program of faults panicked at");
            Some(Fault::text(500, "the program of faults panicked\n"))
        }
        None => None,
    };
    let method = &entry.seen.method;
    let fault = match fault {
        Some(Fault::Status(status, headers, body)) => {
            return send(client, entry, request, &answer(status, headers, &body, method));
        }
        Some(Fault::Hang(time)) => {
            shared.wait(time, |_| true);
            return false;
        }
        Some(Fault::Drop) => return false,
        Some(Fault::Slow(time)) => match shared.wait(time, |_| true) {
            true => None,
            false => return false,
        },
        other => other,
    };
    let Some(address) = &shared.upstream else {
        entry.failed("nobody expected this request");
        let body = b"nobody expected this request\n";
        let headers = with_cors("text/plain; charset=utf-8");
        return send(client, entry, request, &answer(501, headers, body, method));
    };
    // An upstream that is gone leaves the client as it would without the proxy.
    let Ok(mut reply) = ask(address, upstream, request, method) else {
        return false;
    };
    match fault {
        Some(Fault::Truncate) => {
            entry.answered(reply.status());
            let mut bytes = reply.head();
            match reply.body.len() {
                0 => bytes.truncate(bytes.len() / 2),
                whole => bytes.extend_from_slice(&reply.body[..whole / 2]),
            }
            let _ = client.write(&bytes);
            false
        }
        Some(Fault::Replace(edit)) => {
            apply(edit, &mut reply, method);
            send(client, entry, request, &reply)
        }
        _ => send(client, entry, request, &reply),
    }
}

fn apply(edit: Edit, reply: &mut Message, method: &str) {
    let mut remove = |name: &str| reply.headers.retain(|(k, _)| !k.eq_ignore_ascii_case(name));
    edit.hide.iter().for_each(|name| remove(name));
    edit.set.iter().for_each(|(name, _)| remove(name));
    if let Some(body) = edit.body {
        remove("Content-Length");
        remove("Transfer-Encoding");
        reply.headers.push(("Content-Length".into(), body.len().to_string()));
        reply.until_close = false;
        reply.body = if method == "HEAD" { Vec::new() } else { body };
    }
    reply.headers.extend(edit.set);
}

fn send(client: &mut Connection, entry: &Entry, request: &Message, reply: &Message) -> bool {
    entry.answered(reply.status());
    let bytes = [reply.head().as_slice(), &reply.body].concat();
    client.write(&bytes).is_ok() && !request.closes() && !reply.closes()
}

/// Sends the request upstream and reads the answer; a kept connection that the
/// upstream has closed meanwhile is replaced once.
fn ask(address: &str, kept: &mut Option<Connection>, request: &Message, method: &str) -> io::Result<Message> {
    let bytes = [request.head().as_slice(), &request.body].concat();
    loop {
        let reused = kept.is_some();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::new(TcpStream::connect(address)?),
        };
        let outcome = connection.write(&bytes).and_then(|()| connection.read_response(method));
        match outcome {
            Ok(reply) => {
                if !reply.closes() {
                    *kept = Some(connection);
                }
                return Ok(reply);
            }
            Err(_) if reused => {}
            Err(error) => return Err(error),
        }
    }
}
