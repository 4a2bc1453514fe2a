//! Reads the files that choices name: a snapshot, a template, and what the template includes.

use crate::engine::error::{Error, Kind};
use crate::engine::template::{Files, Includes, Source};

/// A file that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileNeed {
    /// The snapshot at this address.
    Snapshot(String),
    /// The template at this address.
    Template(String),
    /// A file that the template includes.
    Include {
        /// The address or path of the template, as it was given.
        template: String,
        /// The name in the `include`; the file is beside the template.
        name: String,
    },
}

impl FileNeed {
    /// Returns the error for an address that could not be read; `why` is one phrase.
    pub fn unreadable(&self, why: &str) -> Error {
        let (what, url) = match self {
            Self::Snapshot(url) => ("snapshot", url),
            Self::Template(url) => ("template", url),
            Self::Include { name, .. } => ("included file", name),
        };
        Error::new(
            Kind::Registry,
            format!("the {what} cannot be read: {why}"),
            url.as_str(),
            "check the address, or give the file",
        )
    }
}

/// Reads one file after the other.
///
/// ```
/// use overtag::engine::template::{Files, Source};
/// use overtag::engine::workflow::files::{FileNeed, FilesWorkflow};
///
/// let url = "https://example.org/t.j2".to_owned();
/// let mut workflow = FilesWorkflow::new(Files::default(), None, Some(url.clone()));
/// let need = workflow.next_need()?.expect("the template");
/// assert_eq!(need, FileNeed::Template(url.clone()));
/// workflow.deliver(need, Ok(Source { name: url.clone(), text: "{% include 'ceph.j2' %}".to_owned() }))?;
/// let need = workflow.next_need()?.expect("what it includes");
/// assert_eq!(need, FileNeed::Include { template: url, name: "ceph.j2".to_owned() });
/// // A file that is not there is an error only if the template comes to its `include`.
/// let error = need.unreadable("the server returned 404");
/// workflow.deliver(need, Err(error))?;
/// assert_eq!(workflow.next_need()?, None);
/// assert!(workflow.finish().template.is_some());
/// # Ok::<(), overtag::engine::error::Error>(())
/// ```
#[derive(Debug)]
pub struct FilesWorkflow {
    files: Files,
    snapshot: Option<String>,
    template: Option<String>,
    includes: Includes,
}

impl FilesWorkflow {
    /// Returns a workflow that reads a snapshot and a template from their addresses. A file among `own` takes the place of an address.
    pub fn new(own: Files, snapshot: Option<String>, template: Option<String>) -> Self {
        Self {
            snapshot: snapshot.filter(|_| own.snapshot.is_none()),
            template: template.filter(|_| own.template.is_none()),
            includes: own.template.as_ref().map(Includes::of).unwrap_or_default(),
            files: own,
        }
    }

    /// Returns what is to be read next, or `None` when all is read.
    ///
    /// # Errors
    /// The template includes more than 50 files.
    pub fn next_need(&mut self) -> Result<Option<FileNeed>, Error> {
        if let Some(url) = self.snapshot.take() {
            return Ok(Some(FileNeed::Snapshot(url)));
        }
        if let Some(url) = self.template.take() {
            return Ok(Some(FileNeed::Template(url)));
        }
        let name = self.includes.next_name()?;
        let template = self.files.template.as_ref().map_or(String::new(), |source| source.name.clone());
        Ok(name.map(|name| FileNeed::Include { template, name }))
    }

    /// Takes a file that was read, or why it could not be.
    ///
    /// # Errors
    /// A snapshot or a template could not be read. An included file may be missing: rendering reports it if it is needed.
    pub fn deliver(&mut self, need: FileNeed, read: Result<Source, Error>) -> Result<(), Error> {
        match need {
            FileNeed::Snapshot(_) => self.files.snapshot = Some(read?),
            FileNeed::Template(url) => {
                let source = Source { name: url, ..read? };
                self.includes = Includes::of(&source);
                self.files.template = Some(source);
            }
            FileNeed::Include { .. } => read.into_iter().for_each(|source| self.includes.add(source)),
        }
        Ok(())
    }

    /// Returns the files.
    pub fn finish(self) -> Files {
        let mut files = self.files;
        files.includes.extend(self.includes.found);
        files
    }
}
