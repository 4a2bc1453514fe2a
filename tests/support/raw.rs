//! A server that answers with exactly the bytes that a test gives, one request a connection.
//!
//! ```ignore
//! let server = Raw::start(|request| Some(raw::answer(200, &[("Content-Type", "text/plain")], b"hello")));
//! // … ask server.host …
//! assert_eq!(server.requests().len(), 1);
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The head of a request: method and target, header lines.
#[derive(Clone, Debug)]
pub struct Head {
    /// `GET`, `HEAD`, `CONNECT`, …
    pub method: String,
    /// As it stands in the request: a path, a whole address, or `host:port`.
    pub target: String,
    /// All header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, by its `Content-Length`.
    pub body: String,
}

impl Head {
    /// A header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A running server. It lives as long as the test's process.
pub struct Raw {
    /// `127.0.0.1:port`.
    pub host: String,
    seen: Arc<Mutex<Vec<Head>>>,
}

impl Raw {
    /// Answers each request with the bytes that `program` gives; with none the connection is closed.
    pub fn start(program: impl Fn(&Head) -> Option<Vec<u8>> + Send + Sync + 'static) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let (program, seen) = (Arc::new(program), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (program, log) = (Arc::clone(&program), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*program, &log));
            }
        });
        Raw { host, seen }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Head> {
        self.seen.lock().expect("no holder of this lock panics").clone()
    }
}

fn serve(mut stream: TcpStream, program: &dyn Fn(&Head) -> Option<Vec<u8>>, log: &Mutex<Vec<Head>>) {
    let Some(head) = read(&mut stream) else { return };
    log.lock().expect("no holder of this lock panics").push(head.clone());
    if let Some(answer) = program(&head) {
        _ = stream.write_all(&answer);
        _ = stream.flush();
    }
}

fn read(stream: &mut TcpStream) -> Option<Head> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut part) {
            Ok(n) if n > 0 => bytes.extend(&part[..n]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let mut head = Head { method, target, headers: lines.filter_map(field).collect(), body: String::new() };
    let length: usize = head.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut part) {
            Ok(n) if n > 0 => body.extend(&part[..n]),
            _ => break,
        }
    }
    head.body = String::from_utf8_lossy(&body).into_owned();
    Some(head)
}

/// An answer that ends with its connection. `Content-Length` is not added.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    [format!("HTTP/1.1 {status} X\r\n{fields}Connection: close\r\n\r\n").as_bytes(), body].concat()
}
