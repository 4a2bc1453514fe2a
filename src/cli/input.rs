//! Files that are read: from a disk or from the web.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::engine::error::Error;
use crate::engine::template::Source;
use crate::net::native;

/// Bytes of a file that are read at most; of a snapshot a page reads as many.
const LIMIT: usize = crate::engine::wire::LIST_LIMIT;

/// Reads a text file; of one that does not end no more than the limit.
pub fn read(path: &Path) -> Result<Source, Error> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::usage(format!("the file cannot be read ({e})"), &name, "check the path"))?;
    text(name, bytes)
}

/// Reads a text file from the web.
pub fn fetch(url: &str) -> Result<Source, Error> {
    let bytes = native::fetch(url, LIMIT).map_err(|why| {
        Error::new(crate::engine::error::Kind::Registry, format!("it cannot be read ({why})"), url, "check the address")
    })?;
    text(url.to_owned(), bytes)
}

fn text(name: String, bytes: Vec<u8>) -> Result<Source, Error> {
    if bytes.len() > LIMIT {
        return Err(Error::usage(format!("the file is larger than {} MiB", LIMIT >> 20), name, "give a smaller one"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text: text.trim_start_matches('\u{feff}').to_owned() }),
        Err(_) => Err(Error::usage("the file is not UTF-8", name, "save it as UTF-8")),
    }
}
