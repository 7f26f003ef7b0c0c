//! One file per hook family.

mod exec;
mod files;
mod image;
mod module;
pub(crate) mod objects;
mod request;
mod rings;
mod syscalls;
pub(crate) mod tools;
