//! What the choices ask for.

use leptos::prelude::*;

use super::{Comparison, Link, ReadFiles, Screen};
use crate::app::browser;
use crate::engine::board::Grid;
use crate::engine::demo;
use crate::engine::error::Error;
use crate::engine::options::definitions::Choices;
use crate::engine::options::settings::{Settings, View};
use crate::engine::release::DEMO_HOST;
use crate::engine::template::Files;
use crate::engine::template::plan::{Image, Plan};
use crate::engine::workflow::board::Subject;
use crate::engine::workflow::compare::{self, Request};

/// The choices, checked, and what they ask for.
#[derive(Debug)]
pub struct Prepared {
    /// Checked.
    pub settings: Settings,
    /// What was wrong with them.
    pub wrong: Vec<Error>,
    /// Template, roles and environments of the visitor's own.
    pub files: Files,
    /// What is asked for; none while a template is being fetched.
    pub plan: Option<Result<Plan, Error>>,
    /// Of a board, which images stand on it.
    pub grid: Grid,
    /// Of a comparison of channels, the settings and plans of both.
    pub sides: Vec<Result<Request, Error>>,
}

impl Prepared {
    /// Renders the template of the choices that were made, and of a comparison that of both sides.
    pub fn new(link: Link, read: ReadFiles, comparison: Comparison, screen: Screen) -> Self {
        let selection = link.selection.get();
        let mut files = read.own.get();
        let (settings, wrong) = checked(&selection, &files);
        if let Some(url) = settings.template.clone().filter(|_| files.template.is_none()) {
            let outcome = read.fetched.get().filter(|f| f.url == url).map(|f| f.outcome);
            match outcome.transpose() {
                Ok(Some(own)) => {
                    files.template = own.template;
                    files.includes.extend(own.includes);
                }
                missing => {
                    let plan = missing.err().map(Err);
                    return Self { settings, wrong, files, plan, grid: Grid::default(), sides: Vec::new() };
                }
            }
        }
        let plan = screen.is_shown.get().then(|| Plan::new(&settings, &files));
        let grid = match &plan {
            Some(Ok(plan)) if settings.view == View::Board => Grid::new(&settings, plan),
            _ => Grid::default(),
        };
        let sides = match settings.view {
            View::Compare if plan.is_some() => {
                compare::tags(&settings, settings.against.is_some() || comparison.older.with(Option::is_some))
            }
            _ => Vec::new(),
        };
        let sides = sides.into_iter().map(|tag| side(tag, &selection, &files)).collect();
        Self { settings, wrong, files, plan, grid, sides }
    }

    /// What is asked for in row `i`; on a board the image at the channel's tag.
    pub fn image(&self, i: usize) -> Option<Image> {
        let (plan, width) = (self.plan()?, self.grid.channels.len());
        if self.settings.view != View::Board {
            return plan.images.get(i).cloned();
        }
        let image = plan.images.get(*self.grid.members.get(i.checked_div(width)?)?)?;
        let channel = self.grid.channels.get(i % width)?;
        let imagename = image.reference.as_ref().map_or_else(|_| image.imagename.clone(), |r| r.at_tag(channel));
        Some(Image { imagename, short: format!("{}:{channel}", image.short), ..image.clone() })
    }

    /// Returns what a board of this plan shows.
    pub fn subject<'a>(&'a self, plan: &'a Plan) -> Subject<'a> {
        Subject { settings: &self.settings, plan, grid: &self.grid }
    }

    /// The plan, where there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()?.as_ref().ok()
    }
}

/// The settings of choices, and what is wrong with them. The demo's registry is beside the page.
fn checked(choices: &Choices, files: &Files) -> (Settings, Vec<Error>) {
    let (mut settings, wrong) = Settings::new(choices, files.template.is_some());
    settings.endpoints.entry(DEMO_HOST.to_owned()).or_insert_with(|| browser::beside(demo::FOLDER));
    (settings, wrong)
}

/// One side of a comparison: the choices at this tag.
fn side(tag: String, selection: &Choices, files: &Files) -> Result<Request, Error> {
    let mut choices = selection.clone();
    choices.put("tag", tag.as_str());
    let settings = checked(&choices, files).0;
    let plan = Plan::new(&settings, files)?;
    Ok(Request { tag, settings, plan })
}
