//! The network of the page: the browser's fetch, driven by the same [`Run`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use gloo_net::http::{Method as HttpMethod, RequestBuilder};
use gloo_timers::callback::Timeout;
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, ReadableStream, ReadableStreamDefaultReader, RequestCache, RequestCredentials, RequestMode};

use crate::engine::registry::http::{
    Failure, IMAGE_LIMIT, LIST_LIMIT, Method, Moment, Request, Response, TRIES, TRY_LIMIT, backoff, is_transient,
};
use crate::engine::registry::redirect;
use crate::engine::session::{Next, Run, Send};
use crate::engine::time::{Millis, Timestamp};
use crate::engine::url;

/// What stops all that was started with it.
#[derive(Clone, Default)]
pub struct Stopper {
    stopped: Rc<Cell<bool>>,
    in_flight: Rc<RefCell<Vec<AbortController>>>,
}

impl Stopper {
    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Ends every request under way, and every one that would follow.
    pub fn stop(&self) {
        self.stopped.set(true);
        for controller in self.in_flight.borrow_mut().drain(..) {
            controller.abort();
        }
    }
}

/// The moment on the clock of the page, which began with it.
pub fn now() -> Millis {
    Millis(web_sys::window().and_then(|w| w.performance()).map_or(0, |p| p.now() as u64))
}

/// Now, by the clock of this machine.
pub fn clock() -> Timestamp {
    Timestamp((js_sys::Date::now() / 1000.0) as u64)
}

async fn once(request: &Request, limit: Duration, stopper: &Stopper) -> Result<Response, Failure> {
    let Ok(controller) = AbortController::new() else { return Err(Failure::Network("no AbortController".to_owned())) };
    stopper.in_flight.borrow_mut().push(controller.clone());
    let late = Rc::new(Cell::new(false));
    let timer = {
        let (controller, late) = (controller.clone(), late.clone());
        Timeout::new(limit.as_millis() as u32, move || {
            late.set(true);
            controller.abort();
        })
    };
    let method = match request.method {
        Method::Head => HttpMethod::HEAD,
        Method::Get | Method::Probe => HttpMethod::GET,
        Method::Post => return Err(Failure::Network("a page has no refresh tokens".to_owned())),
    };
    // What is named by its digest never changes; everything else is asked again, whatever a cache believes.
    let cache = match request.method {
        Method::Probe => RequestCache::NoStore,
        _ if request.url.contains("sha256:") => RequestCache::Default,
        _ => RequestCache::NoCache,
    };
    let mut builder = RequestBuilder::new(&request.url)
        .method(method)
        .cache(cache)
        .credentials(RequestCredentials::Omit)
        .abort_signal(Some(&controller.signal()));
    if let Some(accept) = request.accept {
        builder = builder.header("Accept", accept);
    }
    if let Some(authorization) = &request.authorization {
        builder = builder.header("Authorization", authorization.reveal());
    }
    if request.xhr {
        builder = builder.header("X-Requested-With", "XMLHttpRequest");
    }
    if request.method == Method::Probe {
        builder = builder.mode(RequestMode::NoCors);
    }
    let outcome = async {
        let answer = builder.send().await.map_err(|e| Failure::Network(e.to_string()))?;
        // The browser follows redirects itself, and leaves a login behind where they lead to another origin.
        if answer.redirected() {
            redirect::check_redirect(&request.url, &answer.url()).map_err(Failure::RedirectRefused)?;
        }
        let mut response = Response { status: answer.status(), ..Response::default() };
        for name in Response::HEADERS {
            if let Some(value) = answer.headers().get(name) {
                response.set_header(name, &value);
            }
        }
        if request.method == Method::Get {
            let read = read_body(answer.body(), request.limit).await;
            if matches!(read, Err(Failure::TooLarge(_))) {
                controller.abort();
            }
            response.body = read?;
        }
        Ok(response)
    }
    .await;
    drop(timer);
    stopper.in_flight.borrow_mut().retain(|c| *c != controller);
    match outcome {
        Err(_) if stopper.stopped.get() => Err(Failure::Cancelled),
        Err(Failure::Network(_)) if late.get() => Err(Failure::Timeout),
        Err(Failure::Network(_)) if !web_sys::window().is_some_and(|w| w.navigator().on_line()) => Err(Failure::Offline),
        other => other,
    }
}

/// Reads a body piece by piece, and of one that is too large no more than the limit: a hostile server does not report its length.
async fn read_body(stream: Option<ReadableStream>, limit: usize) -> Result<Vec<u8>, Failure> {
    let broken = |_| Failure::Network("the response broke off".to_owned());
    let mut body = Vec::new();
    let Some(stream) = stream else { return Ok(body) };
    let reader = ReadableStreamDefaultReader::new(&stream).map_err(broken)?;
    loop {
        let piece = JsFuture::from(reader.read()).await.map_err(broken)?;
        if js_sys::Reflect::get(&piece, &"done".into()).map_err(broken)?.is_truthy() {
            return Ok(body);
        }
        let bytes = js_sys::Uint8Array::new(&js_sys::Reflect::get(&piece, &"value".into()).map_err(broken)?);
        if body.len() + bytes.length() as usize > limit {
            return Err(Failure::TooLarge(limit));
        }
        body.extend(bytes.to_vec());
    }
}

fn moment() -> Moment {
    Moment { ms: now(), unix: clock(), random: js_sys::Math::random() }
}

/// Reads a text file, e.g. a template.
///
/// # Errors
/// One phrase, where there is no answer, no 200, or no text.
pub async fn fetch(url: &str, stopper: &Stopper) -> Result<String, String> {
    let (request, start) = (Request::get(url.to_owned(), LIST_LIMIT), now());
    let mut tried = 0;
    loop {
        tried += 1;
        let outcome = once(&request, TRY_LIMIT, stopper).await;
        let has_time = now().since(start) < IMAGE_LIMIT;
        if tried < TRIES && is_transient(&outcome) && has_time && !stopper.stopped.get() {
            TimeoutFuture::new(backoff(tried, js_sys::Math::random()).as_millis() as u32).await;
            continue;
        }
        let host = url::origin(url);
        return match outcome {
            Ok(response) if response.status == 200 => String::from_utf8(response.body).map_err(|_| "it is not UTF-8".to_owned()),
            Ok(response) => Err(format!("the server returned {}", response.status)),
            Err(Failure::Network(_)) => Err(format!(
                "no response from {host}: it is down, its name is wrong, or it does not allow this page to read it (CORS)"
            )),
            Err(Failure::Offline) => Err("this computer is offline".to_owned()),
            Err(Failure::RedirectRefused(why)) => Err(format!("redirect refused: {why}")),
            Err(Failure::TooLarge(limit)) => Err(format!("it is larger than {} MiB", limit >> 20)),
            Err(Failure::Timeout | Failure::Cancelled) => Err("the server timed out".to_owned()),
        };
    }
}

/// Sends what `run` has to send, and goes on with each answer. `changed` is called after each, and while it waits each second.
pub fn drive(run: &Rc<RefCell<Run>>, stopper: &Stopper, changed: &Rc<dyn Fn()>) {
    let pump = Pump { run: run.clone(), stopper: stopper.clone(), changed: changed.clone(), alarm: Rc::default() };
    pump.go();
}

/// Drives `run` to its end, or until it is stopped.
pub async fn finish(run: &Rc<RefCell<Run>>, stopper: &Stopper, changed: &Rc<dyn Fn()>) {
    drive(run, stopper, changed);
    while !stopper.is_stopped() && !run.borrow().is_done() {
        TimeoutFuture::new(15).await;
    }
}

/// A run under way.
#[derive(Clone)]
struct Pump {
    run: Rc<RefCell<Run>>,
    stopper: Stopper,
    changed: Rc<dyn Fn()>,
    /// Whether it will wake by itself.
    alarm: Rc<Cell<bool>>,
}

impl Pump {
    fn go(&self) {
        while !self.stopper.stopped.get() {
            let next = self.run.borrow_mut().next(moment());
            match next {
                Next::Send(send) => self.launch(send),
                Next::Wait(until) => {
                    return self.wake(until.since(now()).clamp(Duration::from_millis(1), Duration::from_secs(1)));
                }
                Next::Idle => return,
            }
        }
    }

    fn launch(&self, send: Send) {
        let pump = self.clone();
        spawn_local(async move {
            let outcome = once(&send.request, send.limit, &pump.stopper).await;
            if !pump.stopper.stopped.get() {
                pump.run.borrow_mut().deliver(send.id, outcome, moment());
                pump.go();
                (pump.changed)();
            }
        });
    }

    fn wake(&self, pause: Duration) {
        if self.alarm.replace(true) {
            return;
        }
        let pump = self.clone();
        spawn_local(async move {
            TimeoutFuture::new(pause.as_millis() as u32).await;
            pump.alarm.set(false);
            if !pump.stopper.stopped.get() {
                pump.go();
                (pump.changed)();
            }
        });
    }
}
