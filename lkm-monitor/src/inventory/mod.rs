//! What is on this host now: modules in the kernel, files that decide about modules, tools that load them.

pub mod proc_modules;
