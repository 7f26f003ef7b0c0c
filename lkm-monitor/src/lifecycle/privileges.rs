//! Giving up what is needed only to attach (capabilities(7)).
//!
//! Capabilities belong to a thread, and a new thread gets those of the one that starts it. So the main thread gives them up when
//! everything is attached and before it starts others, and a thread that is started earlier is started by one that never had them.
//!
//! There is no Landlock step: a thread in a Landlock domain may not look through the eyes of processes outside of it
//! (`hook_ptrace_access_check` in security/landlock), and looking at the host as process 1 sees it is what the daemon does.

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

/// What the daemon needs as long as it runs.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH // reads changed files, whose owners may be anybody
    .union(CapabilitySet::SYS_PTRACE) // looks at files as process 1 and others see them: /proc/PID/root
    .union(CapabilitySet::BPF); // reads counters, tells the probes about new tools, runs the programs that find closed files and read memory

/// Where the kernel or a container grants no CAP_BPF, this one stands for it (`bpf_capable` in include/linux/capability.h).
const INSTEAD_OF_BPF: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// Why privileges are still there.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    #[error("the kernel does not say which capabilities this thread has: {0}")]
    Read(#[source] Errno),
    #[error("capabilities that are no longer needed cannot be given up: {0}")]
    Capabilities(#[source] Errno),
    #[error("no_new_privs cannot be set: {0}")]
    NewPrivileges(#[source] Errno),
}

/// For the thread that watches: keeps what is needed to watch on. No program that it might execute gains anything.
pub fn keep_what_watching_needs() -> Result<(), PrivilegesError> {
    let permitted = capabilities(None).map_err(PrivilegesError::Read)?.permitted;
    keep(needed_of(permitted))
}

/// For a thread that touches nothing but what it was given.
pub fn keep_nothing() -> Result<(), PrivilegesError> {
    keep(CapabilitySet::empty())
}

fn needed_of(permitted: CapabilitySet) -> CapabilitySet {
    let kept = if permitted.contains(CapabilitySet::BPF) { KEPT } else { KEPT.union(INSTEAD_OF_BPF) };
    permitted & kept
}

fn keep(kept: CapabilitySet) -> Result<(), PrivilegesError> {
    // Only who may change the bounding set can make it smaller. A service manager has done so, and no_new_privs does the rest.
    let may_bound = capabilities(None).map_err(PrivilegesError::Read)?.effective.contains(CapabilitySet::SETPCAP);
    if may_bound {
        bound(kept).map_err(PrivilegesError::Capabilities)?;
    }
    clear_ambient_capability_set().map_err(PrivilegesError::Capabilities)?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(PrivilegesError::Capabilities)?;
    set_no_new_privs(true).map_err(PrivilegesError::NewPrivileges)
}

/// Takes all capabilities that this kernel knows out of the bounding set, but those that are `kept`.
fn bound(kept: CapabilitySet) -> rustix::io::Result<()> {
    let each = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in each.filter(|capability| !kept.contains(*capability)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            // The first number that has no meaning.
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the calling thread's /proc status.
    fn status(name: &str) -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    }

    fn mask(name: &str) -> CapabilitySet {
        CapabilitySet::from_bits_retain(u64::from_str_radix(&status(name), 16).unwrap())
    }

    #[test]
    fn watching_needs_three_or_sys_admin() {
        assert_eq!(needed_of(CapabilitySet::all()), KEPT);
        let older = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE | CapabilitySet::CHOWN;
        assert_eq!(needed_of(older), CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE);
        assert_eq!(needed_of(CapabilitySet::empty()), CapabilitySet::empty());
    }

    #[test]
    fn what_is_given_up_is_gone_from_every_set_and_for_new_threads() {
        let (before, bounding) = (mask("CapPrm"), mask("CapBnd"));
        let look = || {
            let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(mask);
            (sets, status("NoNewPrivs"))
        };
        let reduced = std::thread::spawn(move || {
            keep_what_watching_needs().unwrap();
            std::thread::spawn(look).join().unwrap()
        });
        let ([inheritable, permitted, effective, bound, ambient], no_new_privileges) = reduced.join().unwrap();
        assert_eq!((permitted, effective), (needed_of(before), needed_of(before)));
        assert!(inheritable.is_empty() && ambient.is_empty());
        let expected = if before.contains(CapabilitySet::SETPCAP) { bounding & needed_of(before) } else { bounding };
        assert_eq!(bound, expected);
        assert_eq!(no_new_privileges, "1");
        assert_eq!(mask("CapPrm"), before, "other threads keep theirs");
    }

    #[test]
    fn nothing_can_be_kept() {
        let reduced = std::thread::spawn(|| {
            keep_nothing().unwrap();
            (mask("CapPrm"), mask("CapEff"))
        });
        assert_eq!(reduced.join().unwrap(), (CapabilitySet::empty(), CapabilitySet::empty()));
    }
}
