//! Just enough HTTP/1.1 to pass messages on and to serve files: bodies are kept
//! as they came, chunk framing included, so that what is passed on is unchanged.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Header fields in the order and spelling they came in.
pub type Headers = Vec<(String, String)>;

/// Looks a header up without regard to case.
pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// A request or an answer.
pub struct Message {
    /// The first line, without its end.
    pub start: String,
    /// The header fields.
    pub headers: Headers,
    /// The body as it was on the wire.
    pub body: Vec<u8>,
    /// Whether only the end of the connection ended the body.
    pub until_close: bool,
}

impl Message {
    /// Returns the status of an answer, 0 if there is none to be read.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    /// Says whether the sender closes the connection after this message.
    pub fn closes(&self) -> bool {
        self.until_close
            || match header(&self.headers, "Connection") {
                Some(value) => value.eq_ignore_ascii_case("close"),
                None => self.start.ends_with("HTTP/1.0") || self.start.starts_with("HTTP/1.0"),
            }
    }

    /// Writes the first line and the fields as bytes.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// Returns an answer with a `Content-Length`, and with the body left away where
/// the method or the status has none.
pub fn answer(status: u16, headers: Headers, body: &[u8], method: &str) -> Message {
    let mut message =
        Message { start: format!("HTTP/1.1 {status} {}", reason(status)), headers, body: Vec::new(), until_close: false };
    if !bodiless(status) {
        if header(&message.headers, "Content-Length").is_none() {
            message.headers.push(("Content-Length".into(), body.len().to_string()));
        }
        if method != "HEAD" {
            message.body = body.to_vec();
        }
    }
    message
}

fn bodiless(status: u16) -> bool {
    (100..200).contains(&status) || status == 204 || status == 304
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// A connection with what was read ahead of it.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Takes a connected stream over.
    pub fn new(stream: TcpStream) -> Connection {
        // Small messages must not wait for each other; without it only time is lost.
        let _ = stream.set_nodelay(true);
        Connection { reader: BufReader::new(stream) }
    }

    /// Reads a request; `None` at the orderly end of the connection.
    pub fn read_request(&mut self) -> io::Result<Option<Message>> {
        // Some clients try TLS first; its greeting has no line end to wait for.
        if self.reader.fill_buf()?.first() == Some(&0x16) {
            return Ok(None);
        }
        let Some(mut message) = self.read_head()? else {
            return Ok(None);
        };
        self.read_body(&mut message, false)?;
        Ok(Some(message))
    }

    /// Reads the answer to a request of `method`; interim answers are skipped.
    pub fn read_response(&mut self, method: &str) -> io::Result<Message> {
        loop {
            let Some(mut message) = self.read_head()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let status = message.status();
            if (100..200).contains(&status) {
                continue;
            }
            if method != "HEAD" && !bodiless(status) {
                self.read_body(&mut message, true)?;
            }
            return Ok(message);
        }
    }

    /// Writes all of the bytes at once.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    fn read_head(&mut self) -> io::Result<Option<Message>> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return match lines.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            match (text.is_empty(), lines.is_empty()) {
                (true, false) => break,
                (true, true) => {}
                (false, _) => lines.push(text),
            }
        }
        let mut lines = lines.into_iter();
        let start = lines.next().unwrap_or_default();
        let headers = lines.filter_map(|l| l.split_once(':').map(|(k, v)| (k.to_owned(), v.trim().to_owned()))).collect();
        Ok(Some(Message { start, headers, body: Vec::new(), until_close: false }))
    }

    fn read_body(&mut self, message: &mut Message, may_end_with_connection: bool) -> io::Result<()> {
        let chunked = header(&message.headers, "Transfer-Encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        if chunked {
            return self.read_chunks(&mut message.body);
        }
        match header(&message.headers, "Content-Length").map(str::parse) {
            Some(Ok(length)) => self.read_exactly(length, &mut message.body),
            Some(Err(_)) => Err(io::ErrorKind::InvalidData.into()),
            None if may_end_with_connection => {
                message.until_close = true;
                self.reader.read_to_end(&mut message.body).map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// Reads chunks up to the last one and the trailer, framing and all.
    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.read_line_into(body)?;
            let size = line.split(';').next().unwrap_or("").trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                while !self.read_line_into(body)?.trim().is_empty() {}
                return Ok(());
            }
            self.read_exactly(size + 2, body)?;
        }
    }

    fn read_line_into(&mut self, body: &mut Vec<u8>) -> io::Result<String> {
        let from = body.len();
        match self.reader.read_until(b'\n', body)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(String::from_utf8_lossy(&body[from..]).into_owned()),
        }
    }

    fn read_exactly(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        match self.reader.by_ref().take(length).read_to_end(body)? as u64 {
            read if read == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
