//! What views share, and what knows of images and channels.

pub mod access;
pub mod hash_flag;
pub mod images;
pub mod messages;
pub mod options;
