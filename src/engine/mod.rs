//! The engine: text and facts in, text and facts out.
//!
//! Nothing here touches a browser, a file, a clock or a network; all of it comes in as arguments, so that the page and the
//! command line give the same bytes, and a thousand cases run in a second. A room uses only the rooms above it:
//!
//! | room | holds |
//! | --- | --- |
//! | [`error`], [`wording`], [`time`], [`url`], [`yaml`], [`json`] | what everything is written with |
//! | [`image`] | references, tags, digests and versions of images |
//! | [`release`] | the built-in templates, defaults and roles |
//! | [`registry`] | how a registry is queried: requests and answers as plain data, a row for each API |
//! | [`options`] | what a person may choose: definitions, link, checked settings |
//! | [`template`] | template and filters → the list of images |
//! | [`resolve`] | facts → what is written for an image, or which facts are missing |
//! | [`pipeline`] | the pipeline around the registry: DLRN's promotions and votes, the promoter's criteria, Zuul's builds |
//! | [`snapshot`] | facts as a file, read in place of registries |
//! | [`session`] | hands out requests, takes answers, ends in rows |
//! | [`board`] | images by channels: what each channel is, and when it was promoted |
//! | [`output`] | the files, a row for each; the report and the comparison |
//! | [`workflow`] | the order of the steps, without I/O |
//! | [`demo`] | the made-up registry of the demo release |

pub mod board;
pub mod demo;
pub mod error;
pub mod image;
pub mod json;
pub mod options;
pub mod output;
pub mod pipeline;
pub mod registry;
pub mod release;
pub mod resolve;
pub mod session;
pub mod snapshot;
pub mod template;
pub mod time;
pub mod url;
pub mod wording;
pub mod workflow;
pub mod yaml;
