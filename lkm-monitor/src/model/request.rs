//! Requests for modules by the kernel.

use super::{Bytes, ProcessTree};

/// `request_module`: a process did something that needs a module, and the kernel runs modprobe for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleRequest {
    /// What the kernel asks for: an alias such as `net-pf-10` or a name.
    pub name: Bytes,
    /// The asking process waits for the answer.
    pub wait: bool,
    pub boot_ns: u64,
    pub cpu: u32,
    pub process: ProcessTree,
}
