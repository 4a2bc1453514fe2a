//! Files in, and files out, whole or not at all.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

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

/// Writes all files beside their places first, and only then moves each there. What is no file, such as `/dev/null`, is written
/// to as it is, and a link is followed.
pub fn write_all(files: &[(&Path, String)]) -> Result<(), Error> {
    let wrong = |what: String, path: &Path| Error::usage(what, path.display().to_string(), "check the path");
    let failed = |e: std::io::Error, path: &Path| wrong(format!("the file cannot be written ({e})"), path);
    let places: Vec<PathBuf> = files.iter().map(|(path, _)| path.canonicalize().unwrap_or_else(|_| path.to_path_buf())).collect();
    for (i, place) in places.iter().enumerate() {
        if place.is_dir() {
            return Err(wrong("this is a folder".to_owned(), place));
        }
        if places[..i].contains(place) && (place.is_file() || !place.exists()) {
            return Err(wrong("two files would be written to the same place".to_owned(), place));
        }
    }
    let mut ready = Vec::new();
    for (i, ((_, content), place)) in files.iter().zip(&places).enumerate() {
        if place.exists() && !place.is_file() {
            continue;
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let beside = place.with_file_name(format!(".{name}.{}-{i}", std::process::id()));
        let written = fs::File::create(&beside).and_then(|mut f| f.write_all(content.as_bytes()).and_then(|()| f.sync_all()));
        ready.push((beside, place));
        if let Err(e) = written {
            clear(&ready);
            return Err(failed(e, place));
        }
    }
    for (beside, place) in &ready {
        if let Err(e) = fs::rename(beside, place) {
            clear(&ready);
            return Err(failed(e, place));
        }
    }
    for ((_, content), place) in files.iter().zip(&places).filter(|(_, place)| !place.is_file()) {
        fs::OpenOptions::new()
            .write(true)
            .open(place)
            .and_then(|mut f| f.write_all(content.as_bytes()))
            .map_err(|e| failed(e, place))?;
    }
    Ok(())
}

fn clear(ready: &[(PathBuf, &PathBuf)]) {
    for (beside, _) in ready {
        _ = fs::remove_file(beside);
    }
}
