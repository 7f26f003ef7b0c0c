//! One file per hook family.

mod exec;
mod files;
mod image;
mod module;
mod request;
mod syscalls;
pub(crate) mod tools;
