//! Files in, and files out, whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::engine::error::Error;
use crate::engine::template::Source;
use crate::net::native;

/// Bytes of a template, roles file or environment that are read at most.
const LIMIT: usize = 8 << 20;

/// Reads a text file.
pub fn read(path: &Path) -> Result<Source, Error> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|e| Error::usage(format!("the file cannot be read ({e})"), &name, "check the path"))?;
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

/// Writes all files beside their places first, and only then moves each there.
pub fn write_all(files: &[(&Path, String)]) -> Result<(), Error> {
    let mut ready = Vec::new();
    for (path, content) in files {
        let beside = path.with_file_name(format!(
            ".{}.{}",
            path.file_name().map_or_else(|| "overtag".into(), |n| n.to_string_lossy()),
            std::process::id()
        ));
        let written = fs::File::create(&beside).and_then(|mut f| f.write_all(content.as_bytes()).and_then(|()| f.sync_all()));
        ready.push((beside, path));
        if let Err(e) = written {
            clear(&ready);
            return Err(Error::usage(format!("the file cannot be written ({e})"), path.display().to_string(), "check the path"));
        }
    }
    for (beside, path) in &ready {
        if let Err(e) = fs::rename(beside, path) {
            clear(&ready);
            return Err(Error::usage(format!("the file cannot be written ({e})"), path.display().to_string(), "check the path"));
        }
    }
    Ok(())
}

fn clear(ready: &[(std::path::PathBuf, &&Path)]) {
    for (beside, _) in ready {
        _ = fs::remove_file(beside);
    }
}
