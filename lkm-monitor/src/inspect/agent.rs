//! Who this agent is.

use sha2::{Digest as _, Sha256};

use crate::model::{Agent, Host};

/// Ids of this daemon, made from what identifies the host and the run, so that they need no state on disk.
///
/// `started_boot_ns` tells apart two runs that got the same process id.
pub fn identify_agent(host: &Host, pid: u32, started_boot_ns: u64) -> Agent {
    // Without a machine id the host has nothing that lasts longer than a boot.
    let machine = if host.machine_id.is_empty() { &host.boot_id } else { &host.machine_id };
    let run = format!("{} {pid} {started_boot_ns}", host.boot_id);
    Agent { id: uuid("agent", machine), ephemeral_id: uuid("run", &run) }
}

/// A UUID of version 8 (RFC 9562: free for own schemes) made from a hash. `purpose` keeps one input from giving the same
/// id twice.
fn uuid(purpose: &str, input: &str) -> String {
    let digest = Sha256::digest(format!("lkm-monitor {purpose} {input}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        number >> 80 & 0xffff,
        number >> 64 & 0xffff,
        number >> 48 & 0xffff,
        number & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_last_as_long_as_what_they_stand_for() {
        let host = Host { machine_id: "m".to_owned(), boot_id: "b".to_owned(), ..Host::default() };
        let first = identify_agent(&host, 10, 1);
        let second = identify_agent(&host, 10, 2);
        assert_eq!(first.id, second.id);
        assert_ne!(first.ephemeral_id, second.ephemeral_id);

        let id = first.id.as_bytes();
        assert_eq!((id.len(), id[14]), (36, b'8'));
        assert!(b"89ab".contains(&id[19]));

        let nameless = |boot_id: &str| Host { boot_id: boot_id.to_owned(), ..Host::default() };
        assert_ne!(identify_agent(&nameless("b"), 10, 1).id, identify_agent(&nameless("c"), 10, 1).id);
    }
}
