//! The views of the page, one file each.

pub mod board;
pub mod compare;
pub mod prepare;
