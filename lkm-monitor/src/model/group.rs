//! Groups of events, of which it is counted how often and where they happen.

/// What makes events one group. Texts are as documents show them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// `file.path`, with `*` for the kernel's release below `/lib/modules`, and `process.executable`.
    File { path: String, executable: String },
    /// `process.args` and `process.args_count`.
    Tool { args: Vec<String>, args_count: u64 },
    /// `lkm_monitor.module.name`, or where that is not known the file's name, and `file.hash.sha256`.
    Module { name: String, sha256: String },
}

/// The tree of modules in which a path lies, below a kernel's release, and the length of what is left of the path then: an upgrade is
/// not rare.
pub fn without_release(path: &str) -> (&'static str, usize) {
    for tree in ["/lib/modules/", "/usr/lib/modules/"] {
        if let Some((_, rest)) = path.strip_prefix(tree).and_then(|below| below.split_once('/')) {
            return (tree, rest.len());
        }
    }
    ("", path.len())
}
