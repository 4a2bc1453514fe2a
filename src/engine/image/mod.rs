//! Names of images: references, tags, digests, versions.

pub mod digest;
pub mod reference;
pub mod tag;
pub mod version;
