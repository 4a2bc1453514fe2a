//! What a file of the outcome is.

use super::outcome::{Outcome, Provenance, ascii};
use crate::engine::template::plan::Plan;

/// A file that is handed over.
#[derive(Debug)]
pub struct Output {
    /// Its name.
    pub file_name: &'static str,
    /// The flag of `overtag prepare` with the path to write it to, and its help; none where a verb prints the file.
    pub flag: Option<(&'static str, &'static str)>,
    /// What its button calls it.
    pub label: &'static str,
    /// Whether it goes to standard output where no path is given.
    pub is_default: bool,
    /// How its text is made. The same input gives the same bytes.
    pub render: Render,
}

/// How the text of a file is made.
#[derive(Clone, Copy, Debug)]
pub enum Render {
    /// From the list of images, which needs no answer.
    Plan(fn(&Plan) -> String),
    /// From the answers: not before all are there, and not where the outcome is a refusal.
    Outcome {
        /// Lines that its head has beside those of every file.
        notes: fn(&Outcome<'_>) -> Vec<String>,
        /// What follows the head.
        body: fn(&Outcome<'_>) -> String,
    },
}

impl Output {
    /// Its text.
    pub fn write(&self, outcome: &Outcome<'_>, provenance: &Provenance) -> String {
        match self.render {
            Render::Plan(render) => render(outcome.plan),
            Render::Outcome { notes, body } => {
                let notes: String = notes(outcome).iter().map(|line| format!("# {}\n", ascii(line))).collect();
                format!("{}{notes}{}", outcome.head(self.file_name, provenance), body(outcome))
            }
        }
    }

    /// Its text less the head; none where it does not depend on the answers.
    pub fn body(&self, outcome: &Outcome<'_>) -> Option<String> {
        match self.render {
            Render::Outcome { body, .. } => Some(body(outcome)),
            Render::Plan(_) => None,
        }
    }
}
