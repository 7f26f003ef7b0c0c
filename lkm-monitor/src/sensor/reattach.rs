//! Attaching again what was detached behind the daemon's back.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, IntoRawFd as _},
};

use super::attach::{Programs, State, attach_one, in_one_line};
use crate::model::LostHook;

impl Programs {
    /// Attaches programs again whose links are gone; `lost` names them, with the descriptor that each link had. They were there at
    /// `seen_boot_ns` the last time. Kernels before 5.13 attach a loaded program once only: there it stays detached.
    pub fn attach_again(&mut self, lost: &[(&'static str, u32)], seen_boot_ns: u64) -> Vec<LostHook> {
        let mut hooks = Vec::new();
        for attached in &mut self.probes {
            let Some((_, fd)) = lost.iter().find(|(program, _)| *program == attached.probe.program) else { continue };
            let again = occupy(*fd).map_err(|error| error.to_string());
            let again =
                again.and_then(|()| attach_one(&mut self.ebpf, attached.probe).map_err(|error| in_one_line(&error)));
            attached.state = match &again {
                Ok(()) => State::Attached,
                Err(error) => State::Lost(error.clone()),
            };
            hooks.push(LostHook {
                hook: attached.hook.target(),
                probe: attached.probe.program.to_owned(),
                not_seen: attached.probe.lost.to_owned(),
                seen_boot_ns,
                error: again.err(),
            });
        }
        hooks
    }
}

/// Puts something harmless at the number of a descriptor that was closed without its owner's knowledge: at the end its owner will
/// close whatever is there. A number that is in use again is left alone.
fn occupy(fd: u32) -> io::Result<()> {
    let wanted = i32::try_from(fd).map_err(io::Error::other)?;
    // The lowest number that is free, which is often the one that was closed.
    let harmless = File::open("/dev/null")?;
    let taken = match harmless.as_raw_fd() == wanted {
        true => harmless.into(),
        false => rustix::io::fcntl_dupfd_cloexec(harmless, wanted)?,
    };
    if taken.as_raw_fd() == wanted {
        // The owner of the number closes it.
        let _ = taken.into_raw_fd();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_closed_is_taken_and_one_in_use_is_not() {
        let file = File::open("/dev/zero").unwrap();
        let target = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
        let used = file.as_raw_fd();
        occupy(used as u32).unwrap();
        assert_eq!(target(used).unwrap().to_str(), Some("/dev/zero"));
        // Far from what other tests open and close meanwhile.
        occupy(900).unwrap();
        assert_eq!(target(900).unwrap().to_str(), Some("/dev/null"));
    }
}
