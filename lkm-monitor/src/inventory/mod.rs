//! What is on this host now: modules in the kernel, files that decide about modules, tools that load them.
//!
//! What cannot be looked at is a [`crate::model::Gap`] and no error: half of an inventory is one, if it says which half.

pub mod files;
pub mod gaps;
mod index;
pub mod loads;
pub mod modules;
mod places;
mod precedence;
pub mod proc_modules;
pub mod survey;
mod sys_module;
pub mod tools;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

pub use self::{
    gaps::Gaps,
    loads::Loads,
    survey::{Budget, Survey},
};
pub(crate) use self::{places::matching, sys_module::folder_of as sys_folder};

/// A name of any bytes, as a path.
fn path_of(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}
