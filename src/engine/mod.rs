//! The engine: text and facts in, text and facts out.
//!
//! Nothing here touches a browser, a file, a clock or a network; all of it comes in as arguments, so that the page and the
//! command line give the same bytes, and a thousand cases run in a second. Modules in reading order:
//!
//! | module | holds |
//! | --- | --- |
//! | [`error`] | one readable line: what, where, cure |
//! | [`time`] | UTC time stamps |
//! | [`name`] | references of images |
//! | [`pattern`] | Python's `re.search`, and the order of versions |
//! | [`yaml`] | the only user of the YAML parser: reads as PyYAML does, writes what every reader takes alike |
//! | [`release`] | the built-in templates, defaults and roles |
//! | [`choices`] | what a person may choose, as written: one table of definitions |
//! | [`settings`] | the same, checked |
//! | [`share`] | choices ⇄ query string |
//! | [`template`] | renders templates |
//! | [`catalogue`] | rendered text → entries |
//! | [`heat`] | environments and roles → service filter, Neutron driver |
//! | [`plan`] | choices and files → which images are asked for, and why each other one is out |
//! | [`wire`] | requests and responses as plain data; what to try again |
//! | [`guard`] | where a server may send us, and where a login may go |
//! | [`auth`] | challenges, logins, tokens |
//! | [`registry`] | questions and answers, and how an ordinary distribution registry is asked |
//! | [`tag_list`] | the tags of a repository, compact |
//! | [`quay`] | how Quay's own API is asked |
//! | [`resolve`] | facts → what is written for an image, or which facts are lacking |
//! | [`pace`] | how many requests a host is sent, and how fast |
//! | [`doctor`] | why a browser cannot read a registry, and what its owner can change |
//! | [`snapshot`] | facts as a file, read in place of registries |
//! | [`run`] | hands out requests, takes answers, ends in rows |
//! | [`board`] | images by channels: what each channel is, and what its table shows |
//! | [`timeline`] | when channels were promoted, and what was rolled back |
//! | [`dlrn`] | the pipeline around the registry: DLRN's promotions and votes, the promoter's criteria, Zuul's builds |
//! | [`bulletin`] | the board as a table, JSON and SVG |
//! | [`compare`] | what differs between two channels, snapshots or files |
//! | [`export`] | the three files and the report |
//! | [`demo`] | the made-up registry of the demo release |

pub mod auth;
pub mod board;
pub mod bulletin;
pub mod catalogue;
pub mod choices;
pub mod compare;
pub mod demo;
pub mod dlrn;
pub mod doctor;
pub mod error;
pub mod export;
pub mod guard;
pub mod heat;
pub mod name;
pub mod pace;
pub mod pattern;
pub mod plan;
pub mod quay;
pub mod registry;
pub mod release;
pub mod resolve;
pub mod run;
pub mod settings;
pub mod share;
pub mod snapshot;
pub mod tag_list;
pub mod template;
pub mod time;
pub mod timeline;
pub mod wire;
pub mod yaml;
