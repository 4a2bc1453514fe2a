//! A web host as plain as they come: files below a sub-path, the right type for
//! each, 404 for all else. It has no rule of its own, so an app that needs one
//! (a fallback to `index.html`, say) fails here as it would with its users.

use super::http::{Connection, Headers, Message, answer};
use std::collections::HashMap;
use std::fs;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running host; closed on drop.
pub struct Site {
    /// The address of the folder, with a slash at the end.
    pub url: String,
    /// `127.0.0.1:port`.
    pub host: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    below: String,
    headers: Headers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    next: u64,
    open: HashMap<u64, TcpStream>,
    requests: Vec<(String, u16)>,
}

impl Site {
    /// Serves `folder` below `sub_path` (`/` or `/some/deep/path/`).
    #[track_caller]
    pub fn start(folder: &Path, sub_path: &str) -> Site {
        Site::with_headers(folder, sub_path, &[])
    }

    /// As [`Site::start`], with header fields added to each answer (a content
    /// security policy, say).
    #[track_caller]
    pub fn with_headers(folder: &Path, sub_path: &str, headers: &[(&str, &str)]) -> Site {
        assert!(folder.is_dir(), "there is no folder {} to serve", folder.display());
        assert!(
            sub_path.starts_with('/') && sub_path.ends_with('/'),
            "the sub-path {sub_path:?} must begin and end with a slash"
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let headers = headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let shared = Arc::new(Shared { folder: folder.to_owned(), below: sub_path.to_owned(), headers, state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Site { url: format!("http://{address}{sub_path}"), host: address.to_string(), address, shared }
    }

    /// Returns the path and status of each request so far, in order.
    pub fn requests(&self) -> Vec<(String, u16)> {
        self.shared.state.lock().expect("no holder of this lock panics").requests.clone()
    }

    /// Returns the paths that were asked for and are not there.
    pub fn missing(&self) -> Vec<String> {
        self.requests().into_iter().filter(|(_, s)| *s == 404).map(|(p, _)| p).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().expect("no holder of this lock panics");
        state.closed = true;
        for stream in state.open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts, so that it sees the end and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let id = {
            let mut state = shared.state.lock().expect("no holder of this lock panics");
            if state.closed {
                return;
            }
            state.next += 1;
            let id = state.next;
            if let Ok(copy) = stream.try_clone() {
                state.open.insert(id, copy);
            }
            id
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut connection = Connection::new(stream);
            while let Ok(Some(request)) = connection.read_request() {
                let reply = reply(&shared, &request);
                let bytes = [reply.head(), reply.body].concat();
                if connection.write(&bytes).is_err() || request.closes() {
                    break;
                }
            }
            shared.state.lock().expect("no holder of this lock panics").open.remove(&id);
        });
    }
}

fn reply(shared: &Shared, request: &Message) -> Message {
    let mut words = request.start.split(' ');
    let method = words.next().unwrap_or("");
    let target = words.next().unwrap_or("");
    let path = target.split(['?', '#']).next().unwrap_or("");
    let mut headers = shared.headers.clone();
    headers.push(("Cache-Control".into(), "no-cache".into()));
    let mut typed = |mime: &str| headers.push(("Content-Type".into(), mime.into()));
    let message = match (method, find(shared, path)) {
        ("GET" | "HEAD", Found::File(file)) => match fs::read(&file) {
            Ok(bytes) => {
                typed(mime(&file));
                answer(200, headers, &bytes, method)
            }
            Err(_) => answer(404, headers, b"not found\n", method),
        },
        ("GET" | "HEAD", Found::Folder) => {
            headers.push(("Location".into(), format!("{path}/")));
            answer(301, headers, b"", method)
        }
        ("GET" | "HEAD", Found::Nothing) => {
            typed("text/plain; charset=utf-8");
            answer(404, headers, b"not found\n", method)
        }
        _ => answer(405, headers, b"only GET and HEAD\n", method),
    };
    let mut state = shared.state.lock().expect("no holder of this lock panics");
    state.requests.push((target.to_owned(), message.status()));
    message
}

enum Found {
    File(PathBuf),
    Folder,
    Nothing,
}

fn find(shared: &Shared, path: &str) -> Found {
    if !path.is_empty() && format!("{path}/") == shared.below {
        return Found::Folder;
    }
    let Some(rest) = path.strip_prefix(&shared.below) else {
        return Found::Nothing;
    };
    let Some(rest) = percent_decoded(rest) else {
        return Found::Nothing;
    };
    let mut file = shared.folder.clone();
    for part in rest.split('/').filter(|p| !p.is_empty()) {
        if part == ".." || part == "." || part.contains('\0') {
            return Found::Nothing;
        }
        file.push(part);
    }
    let asked_for_folder = rest.is_empty() || rest.ends_with('/');
    match (file.is_dir(), asked_for_folder) {
        (true, true) => file.push("index.html"),
        (true, false) => return Found::Folder,
        (false, true) => return Found::Nothing,
        (false, false) => {}
    }
    match file.is_file() {
        true => Found::File(file),
        false => Found::Nothing,
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn mime(file: &Path) -> &'static str {
    match file.extension().and_then(|e| e.to_str()).unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "j2" | "yaml" | "yml" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
