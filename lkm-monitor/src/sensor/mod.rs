//! The sensor: probes in the kernel, events out of the rings, calls joined.
//!
//! `btf` learns the kernel's structures, `probes` is the table of hooks, `attach` puts them in place, `rings` reads,
//! `decode` ends the kernel's layouts, `join` and `assemble` make observations, `losses` counts what did not make it.

pub mod assemble;
pub mod attach;
mod blind;
pub mod btf;
pub mod decode;
pub mod files;
pub mod filter;
pub mod images;
pub mod join;
pub mod kernel;
pub mod losses;
pub mod object_access;
pub mod own_objects;
mod path_bytes;
pub mod probes;
mod reattach;
pub mod recording;
pub mod report;
mod ring;
pub mod rings;
pub mod switches;
mod table;
pub mod tool_files;
pub mod tools;
