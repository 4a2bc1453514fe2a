//! Files that are read, from a disk or from the web, and files that are written.
//!
//! Output files: Each is replaced as a whole or not at all, and several together or none of them.
//!
//! A new file is written beside its place, in a file that this process creates for itself, and renamed at the end. What cannot be replaced
//! that way is either written to as it is open (standard output, a pipe, a device) or refused before anything is touched (a file that is
//! mounted by itself, as `docker run -v FILE:FILE` does it).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;

use crate::engine::error::Error;
use crate::engine::registry::http::LIST_LIMIT;
use crate::engine::template::Source;
use crate::net::native;

/// Bytes of a file that are read at most; of a snapshot a page reads as many.
const LIMIT: usize = LIST_LIMIT;

/// Reads a text file; of one that does not end no more than the limit.
pub fn read(path: &Path) -> Result<Source, Error> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::usage(format!("the file cannot be read ({e})"), &name, "check the path"))?;
    text(name, bytes)
}

/// Reads a text file from the web. `unreadable` turns the phrase that says why there is none into an error.
pub fn fetch(url: &str, unreadable: impl Fn(&str) -> Error) -> Result<Source, Error> {
    let bytes = native::fetch(url, LIMIT).map_err(|why| unreadable(&why))?;
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

/// Links that are followed to find the place of a file, as many as Linux follows.
const LINKS: usize = 40;
/// What stands in the names of our temporary files, between the name of the target and the random part.
const MARK: &str = ".overtag-";

/// Where a text goes.
enum Place {
    /// A descriptor that this process has open; it is written to, whatever it leads to.
    Descriptor(i32),
    /// A pipe, a device or a socket.
    Special(PathBuf),
    /// A file, links followed; it may not exist yet.
    File(PathBuf),
}

/// Writes each text to its path, or all to standard output where there is no path.
///
/// # Errors
/// Nothing is replaced then. Two texts for one file, a folder, a file that cannot be replaced as a whole, a full or read-only disk.
pub fn write(texts: &[(Option<&Path>, &str)]) -> Result<(), Error> {
    let mut places = Vec::new();
    for (path, _) in texts {
        places.push(path.map_or(Ok(Place::Descriptor(1)), place_of)?);
    }
    refuse_same(texts, &places)?;
    let mut ready = Vec::new();
    for ((path, text), place) in texts.iter().zip(&places) {
        if let (Place::File(place), Some(path)) = (place, path) {
            ready.push(Ready::new(place, text).map_err(|e| failed(&e, path))?);
        }
    }
    for ((path, text), place) in texts.iter().zip(&places) {
        let written = match place {
            Place::Descriptor(number) => write_descriptor(*number, text.as_bytes()),
            Place::Special(path) => fs::OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(text.as_bytes())),
            Place::File(_) => Ok(()),
        };
        // A reader that went away is not an error of ours.
        if let Err(e) = written
            && e.kind() != ErrorKind::BrokenPipe
        {
            return Err(failed(&e, path.unwrap_or(Path::new("standard output"))));
        }
    }
    replace_all(ready)
}

fn failed(e: &io::Error, path: &Path) -> Error {
    let hint = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space; nothing was replaced",
        _ => "check the path; nothing was replaced",
    };
    Error::usage(format!("cannot write the file ({e})"), path.display().to_string(), hint)
}

/// Finds where `path` leads to. Links are followed by hand: a link to a file that does not exist yet must stay a link, and one to a
/// descriptor must not be followed to the file behind it.
fn place_of(path: &Path) -> Result<Place, Error> {
    let wrong = |message: &str, hint: &str| Error::usage(message, path.display().to_string(), hint);
    let mut at = path.to_path_buf();
    for _ in 0..LINKS {
        let ends_in_name = matches!(at.components().next_back(), Some(Component::Normal(_)));
        if at.is_dir() || !ends_in_name || at.as_os_str().as_bytes().ends_with(b"/") {
            return Err(wrong("this is a folder", "give the name of a file in it"));
        }
        let folder = match at.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let folder = folder.canonicalize().map_err(|e| failed(&e, path))?;
        let name = at.file_name().unwrap_or_default().to_owned();
        // `/dev/stdout` leads here by way of `/proc/self/fd/1`; each thread has such a folder too.
        let own = Path::new("/proc").join(std::process::id().to_string());
        if let (true, true, Some(number)) =
            (folder.starts_with(&own), folder.ends_with("fd"), name.to_str().and_then(|n| n.parse().ok()))
        {
            return Ok(Place::Descriptor(number));
        }
        if folder.starts_with("/proc") {
            return Err(wrong("this belongs to another process, or is not a file", "give another path"));
        }
        let full = folder.join(&name);
        match fs::read_link(&full) {
            Ok(target) => at = folder.join(target),
            Err(_) => {
                return Ok(match fs::metadata(&full) {
                    Ok(is) if !is.is_file() => Place::Special(full),
                    _ => Place::File(full),
                });
            }
        }
    }
    Err(wrong("its symbolic links form a loop", "correct the links"))
}

/// Whether a text for `to`, or for standard output, would be written to the file at `path`.
pub fn is_same(path: &Path, to: Option<&Path>) -> bool {
    match (place_of(path), to.map_or(Ok(Place::Descriptor(1)), place_of)) {
        (Ok(a), Ok(b)) => are_one(&a, &b),
        _ => false,
    }
}

/// Refuses two texts for one file. Descriptors and pipes take several, one after the other.
fn refuse_same(texts: &[(Option<&Path>, &str)], places: &[Place]) -> Result<(), Error> {
    for (i, place) in places.iter().enumerate() {
        if let Some(j) = places[..i].iter().position(|other| are_one(place, other)) {
            let name = |i: usize| texts[i].0.map_or("standard output".to_owned(), |path| path.display().to_string());
            let place = format!("{} and {}", name(j), name(i));
            return Err(Error::usage("two files would be written to the same place", place, "give each its own path"));
        }
    }
    Ok(())
}

/// Whether one of the two would be lost.
fn are_one(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::File(a), Place::File(b)) => is_one_file(a, b),
        (Place::Descriptor(a), Place::Descriptor(b)) => a != b && write_over_each_other(*a, *b),
        (Place::Descriptor(number), Place::File(file)) | (Place::File(file), Place::Descriptor(number)) => {
            let behind = fs::metadata(format!("/proc/self/fd/{number}"));
            behind.is_ok_and(|a| fs::metadata(file).is_ok_and(|b| is_one(&a, &b)))
        }
        _ => false,
    }
}

fn is_one(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Whether two paths name one file: the same inode, or in one folder the same name. Names that differ in case alone are one on file
/// systems that ignore it, and nobody means two files by them elsewhere.
fn is_one_file(a: &Path, b: &Path) -> bool {
    let is_same_inode = || Some(is_one(&fs::metadata(a).ok()?, &fs::metadata(b).ok()?));
    let lower = |path: &Path| path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let folder = |path: &Path| fs::metadata(path.parent()?).ok();
    let is_same_folder = folder(a).zip(folder(b)).is_some_and(|(a, b)| is_one(&a, &b));
    is_same_inode() == Some(true) || is_same_folder && lower(a) == lower(b)
}

/// Whether two descriptors of one file have a position each, so that what is written by one overwrites what the other wrote.
fn write_over_each_other(a: i32, b: i32) -> bool {
    let of = |number: i32| fs::metadata(format!("/proc/self/fd/{number}")).ok().filter(Metadata::is_file);
    let info = |number: i32, key: &str| {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().to_owned()))
    };
    // <https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html>: flags in octal; 0o2000 is O_APPEND.
    let appends =
        |number: i32| info(number, "flags").and_then(|f| i64::from_str_radix(&f, 8).ok()).is_some_and(|f| f & 0o2000 != 0);
    if !of(a).zip(of(b)).is_some_and(|(a, b)| is_one(&a, &b)) || appends(a) && appends(b) {
        return false;
    }
    // A position that is shared moves for both.
    let Ok(at) = nix::unistd::lseek(a, 0, nix::unistd::Whence::SeekCur) else { return false };
    let before = info(b, "pos");
    let moved = nix::unistd::lseek(a, at + 1, nix::unistd::Whence::SeekSet).is_ok() && info(b, "pos") != before;
    _ = nix::unistd::lseek(a, at, nix::unistd::Whence::SeekSet);
    !moved
}

/// Writes to an open descriptor by its number: to open it once more would give another position in the file.
fn write_descriptor(number: i32, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(number, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(nix::errno::Errno::EINTR) => {}
            // The other end may have made a pipe non-blocking.
            Err(nix::errno::Errno::EAGAIN) => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A text that is written beside its place.
struct Ready<'a> {
    place: &'a Path,
    file: NamedTempFile,
    /// Whether something is replaced.
    is_there: bool,
}

impl<'a> Ready<'a> {
    /// Writes `text` beside `place`, with the mode and owner of what is there.
    fn new(place: &'a Path, text: &str) -> io::Result<Self> {
        if is_mounted(place)? {
            let message =
                "it is a mount point, which cannot be replaced as a whole; mount its folder instead, or write to /dev/stdout";
            return Err(io::Error::new(ErrorKind::ResourceBusy, message));
        }
        remove_old(place);
        let old = match fs::metadata(place) {
            Ok(is) => Some(is),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let mut file = create_beside(place)?;
        file.write_all(text.as_bytes())?;
        if let Some(old) = &old {
            keep_owner(file.as_file(), old)?;
        }
        file.as_file().sync_all()?;
        Ok(Self { place, file, is_there: old.is_some() })
    }
}

/// Gives `file` the owner and mode of `old`.
fn keep_owner(file: &File, old: &Metadata) -> io::Result<()> {
    let is = file.metadata()?;
    if (is.uid(), is.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid())).map_err(|e| {
            let message = format!("its owner (user {}, group {}) cannot be kept: {e}", old.uid(), old.gid());
            io::Error::new(e.kind(), message)
        })?;
    }
    // Changing the owner clears bits of the mode.
    file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}

/// `.NAME.overtag-`, with which the names of temporary files for `place` begin.
fn prefix(place: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    // With what is added a long name would be too long.
    let name = place.file_name().unwrap_or_default().as_bytes();
    prefix.push(OsStr::from_bytes(&name[..name.len().min(200)]));
    prefix.push(MARK);
    prefix
}

/// Creates an empty file beside `place`, new and by a random name, and locks it for as long as it is in use.
fn create_beside(place: &Path) -> io::Result<NamedTempFile> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    loop {
        // Less what the umask takes away.
        let permissions = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().prefix(&prefix(place)).permissions(permissions).tempfile_in(folder)?;
        // Not every file system has locks; without them a run at the same time may remove it, and this one fails.
        _ = file.as_file().try_lock();
        // Another run may have removed it before it was locked.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes what earlier runs left behind when they were killed: our own files beside `place` that nobody has locked.
fn remove_old(place: &Path) {
    let prefix = prefix(place);
    let Some(entries) = place.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes())) {
        let path = entry.path();
        let is_file = fs::symlink_metadata(&path).is_ok_and(|is| is.is_file());
        if is_file && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            _ = fs::remove_file(&path);
        }
    }
}

/// Whether a file is a mount point: it can be written to, and not be renamed over. The fifth field of a line is the mount point
/// (<https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>).
fn is_mounted(place: &Path) -> io::Result<bool> {
    if !place.exists() {
        return Ok(false);
    }
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4));
    Ok(points.any(|point| unescaped(point) == place.as_os_str().as_bytes()))
}

/// A path as mountinfo writes it: blanks and backslashes are `\ooo`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let [first, after @ ..] = rest {
        let code = after.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                out.push(code);
                rest = &after[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Moves every file to its place. Where one cannot be moved, those before it are put back.
fn replace_all(ready: Vec<Ready<'_>>) -> Result<(), Error> {
    let is_one = ready.len() == 1;
    let mut done: Vec<(PathBuf, Option<tempfile::TempPath>)> = Vec::new();
    for Ready { place, file, is_there } in ready {
        // The old file keeps a second name until all are in their places; where links cannot be made, nothing can be put back.
        let kept = if is_there && !is_one { keep(place) } else { None };
        if let Err(e) = file.persist(place) {
            for (place, kept) in done.into_iter().rev() {
                _ = match kept {
                    Some(kept) => kept.persist(&place).map_err(|e| e.error),
                    None => fs::remove_file(&place),
                };
            }
            return Err(failed(&e.error, place));
        }
        done.push((place.to_path_buf(), kept));
    }
    for folder in done.iter().filter_map(|(place, _)| place.parent()) {
        _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// A second name for the file at `place`, which goes when it is dropped.
fn keep(place: &Path) -> Option<tempfile::TempPath> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    let link = |path: &Path| fs::hard_link(place, path);
    Some(tempfile::Builder::new().prefix(&prefix(place)).make_in(folder, link).ok()?.into_temp_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescaped(br"/a\040b\134c"), b"/a b\\c");
        assert_eq!(unescaped(br"/a\"), b"/a\\");
    }

    #[test]
    fn failed_second_file_restores_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for is_new in [false, true] {
            let (first, second) = (folder.path().join("first"), folder.path().join("second"));
            if !is_new {
                fs::write(&first, "old").expect("written");
            }
            let ready = [&first, &second].map(|place| Ready::new(place, "new").expect("it is written beside its place"));
            fs::create_dir(&second).expect("a folder in the way");
            let error = replace_all(ready.into()).expect_err("a folder is not replaced by a file").to_string();
            assert!(error.contains("second"), "{error}");
            assert_eq!(fs::read_to_string(&first).ok().as_deref(), (!is_new).then_some("old"));
            fs::remove_dir(&second).expect("removed");
            _ = fs::remove_file(&first);
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        }
    }
}
