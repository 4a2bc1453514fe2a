//! The network of the page: the browser's fetch, driven by the same [`Run`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use gloo_net::http::{Method as HttpMethod, RequestBuilder};
use gloo_timers::callback::Timeout;
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, ReadableStream, ReadableStreamDefaultReader, RequestCache, RequestCredentials};

use crate::engine::run::Run;
use crate::engine::wire::{Failure, Method, Request, Response, TRY_LIMIT, wait};

/// Requests in flight at once. On HTTP/1.1 the browser holds back all but six of a host while their time already runs.
const IN_FLIGHT: usize = 24;

/// What stops all that was started with it.
#[derive(Clone, Default)]
pub struct Stopper {
    stopped: Rc<Cell<bool>>,
    flying: Rc<RefCell<Vec<AbortController>>>,
}

impl Stopper {
    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Ends every request under way, and every one that would follow.
    pub fn stop(&self) {
        self.stopped.set(true);
        for controller in self.flying.borrow_mut().drain(..) {
            controller.abort();
        }
    }
}

/// Milliseconds since the page began.
pub fn now() -> u64 {
    web_sys::window().and_then(|w| w.performance()).map_or(0, |p| p.now() as u64)
}

/// Seconds since 1970.
pub fn clock() -> u64 {
    (js_sys::Date::now() / 1000.0) as u64
}

async fn once(request: &Request, limit: Duration, stopper: &Stopper) -> Result<Response, Failure> {
    let Ok(controller) = AbortController::new() else { return Err(Failure::Network("no AbortController".to_owned())) };
    stopper.flying.borrow_mut().push(controller.clone());
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
        Method::Get => HttpMethod::GET,
    };
    // What is named by its digest never changes; everything else is asked anew, whatever a cache believes.
    let cache = if request.url.contains("sha256:") { RequestCache::Default } else { RequestCache::NoCache };
    let mut builder = RequestBuilder::new(&request.url)
        .method(method)
        .cache(cache)
        .credentials(RequestCredentials::Omit)
        .abort_signal(Some(&controller.signal()));
    if let Some(accept) = request.accept {
        builder = builder.header("Accept", accept);
    }
    let outcome = async {
        let answer = builder.send().await.map_err(|e| Failure::Network(e.to_string()))?;
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
    stopper.flying.borrow_mut().retain(|c| *c != controller);
    match outcome {
        Err(_) if stopper.stopped.get() => Err(Failure::Cancelled),
        Err(Failure::Network(_)) if late.get() => Err(Failure::Timeout),
        Err(Failure::Network(_)) => Err(Failure::Network(diagnose(&request.url))),
        other => other,
    }
}

/// Reads a body piece by piece, and of one that is too large no more than the limit: its length is told by nobody who means ill.
async fn read_body(stream: Option<ReadableStream>, limit: usize) -> Result<Vec<u8>, Failure> {
    let broken = |_| Failure::Network("the answer broke off".to_owned());
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

/// A browser does not say why a fetch failed; this names what can be known, and else the likely causes.
fn diagnose(url: &str) -> String {
    let window = web_sys::window();
    let location = window.as_ref().map(web_sys::Window::location);
    let is_secure = location.and_then(|l| l.protocol().ok()).is_some_and(|p| p == "https:");
    let host = url.split('/').nth(2).unwrap_or_default();
    if is_secure && url.starts_with("http://") && !crate::engine::name::is_loopback(host) {
        return format!("a page on https may not ask http://{host}: mixed content");
    }
    if window.is_some_and(|w| !w.navigator().on_line()) {
        return "this computer is offline".to_owned();
    }
    format!(
        "the browser got no answer from {host}: it is down, its name is wrong, or it does not allow this page to read it (CORS)"
    )
}

/// Sends `request`, again where that can help, for no longer than `budget`; tells how often it was sent.
pub async fn send(request: &Request, budget: Duration, stopper: &Stopper) -> (Result<Response, Failure>, u32) {
    let start = now();
    let left = || budget.saturating_sub(Duration::from_millis(now() - start));
    let mut tried = 0;
    loop {
        tried += 1;
        let outcome = once(request, left().min(TRY_LIMIT), stopper).await;
        match wait(tried, &outcome, js_sys::Math::random(), clock()) {
            Some(pause) if pause < left() && !stopper.stopped.get() => TimeoutFuture::new(pause.as_millis() as u32).await,
            _ => return (outcome, tried),
        }
    }
}

/// Reads a text file, e.g. a template.
///
/// # Errors
/// One phrase, where there is no answer, no 200, or no text.
pub async fn fetch(url: &str, stopper: &Stopper) -> Result<String, String> {
    let request = Request { method: Method::Get, url: url.to_owned(), accept: None, limit: crate::engine::wire::LIST_LIMIT };
    match send(&request, crate::engine::wire::IMAGE_LIMIT, stopper).await.0 {
        Ok(response) if response.status == 200 => String::from_utf8(response.body).map_err(|_| "it is not UTF-8".to_owned()),
        Ok(response) => Err(format!("the server answered {}", response.status)),
        Err(Failure::Network(why)) => Err(why),
        Err(Failure::TooLarge(limit)) => Err(format!("it is larger than {} MiB", limit >> 20)),
        Err(_) => Err("the server did not answer in time".to_owned()),
    }
}

/// Sends what `run` has to send, up to the limit, and goes on with each answer. `changed` is called after each.
pub fn drive(run: &Rc<RefCell<Run>>, stopper: &Stopper, changed: &Rc<dyn Fn()>) {
    let flying = Rc::new(Cell::new(0));
    pump(run, stopper, changed, &flying);
}

fn pump(run: &Rc<RefCell<Run>>, stopper: &Stopper, changed: &Rc<dyn Fn()>, flying: &Rc<Cell<usize>>) {
    while flying.get() < IN_FLIGHT && !stopper.stopped.get() {
        let Some(next) = run.borrow_mut().next(now()) else { break };
        flying.set(flying.get() + 1);
        let (run, stopper, changed, flying) = (run.clone(), stopper.clone(), changed.clone(), flying.clone());
        spawn_local(async move {
            let (outcome, tries) = send(&next.request, next.budget, &stopper).await;
            flying.set(flying.get() - 1);
            if !stopper.stopped.get() {
                run.borrow_mut().deliver(next.id, outcome, tries, now());
                changed();
                pump(&run, &stopper, &changed, &flying);
            }
        });
    }
}
