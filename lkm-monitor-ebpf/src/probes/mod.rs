//! One file per hook family.

mod exec;
mod image;
mod module;
mod request;
mod syscalls;
