//! What tells this run and its program from others.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::{
    inspect::regular,
    model::{Predecessor, RunEnd, RunRecord},
};

/// The program that runs, whatever lies at its path by now.
pub(super) const PROGRAM: &str = "/proc/self/exe";

/// SHA-256 of a file, hexadecimal.
pub(super) fn file_sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// When a process started, in clock ticks since boot; `None` where there is no such process.
pub(super) fn start_ticks(pid: &str) -> Option<u64> {
    let stat = regular::read(Path::new(&format!("/proc/{pid}/stat")), 4096).ok()?;
    // proc_pid_stat(5): the name in parentheses may hold anything; the 22nd field is the 20th behind it.
    let behind = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What the record before says to this run.
pub(super) fn predecessor(found: Result<Option<RunRecord>, String>, this: &RunRecord) -> Predecessor {
    let before = match found {
        Ok(Some(before)) => before,
        Ok(None) => return Predecessor::NotOnRecord,
        Err(reason) => return Predecessor::Unreadable(reason),
    };
    let same_boot = before.is_of_boot_of(this);
    let end = match () {
        () if before.stopped => RunEnd::Stopped,
        () if !same_boot => RunEnd::HostWentDown,
        () if start_ticks(&before.pid.to_string()) == Some(before.start_ticks) => RunEnd::StillRunning,
        () => RunEnd::Killed,
    };
    Predecessor::OnRecord(Box::new(before), end)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Moment, Succession};

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = start_ticks("self").unwrap();
        assert_eq!(start_ticks(&std::process::id().to_string()), Some(own));
        assert_eq!(start_ticks("0"), None);
    }

    /// So many seconds after the boot, when the wall clock was there.
    fn at(boot_s: u64, unix_s: i64) -> Moment {
        Moment { boot_ns: boot_s * 1_000_000_000, unix_ms: unix_s * 1000 }
    }

    #[test]
    fn a_forged_boot_id_makes_no_other_boot() {
        let before = RunRecord { boot_id: "a".to_owned(), pid: u32::MAX, seen: at(300, 700), ..RunRecord::default() };
        let succession = |began| {
            let this = RunRecord { boot_id: "forged".to_owned(), began, ..RunRecord::default() };
            Succession { before: predecessor(Ok(Some(before.clone())), &this), this }
        };
        let end = |began| match succession(began).before {
            Predecessor::OnRecord(_, end) => end,
            other => panic!("{other:?}"),
        };
        assert_eq!(end(at(305, 705)), RunEnd::Killed);
        assert_eq!(succession(at(305, 705)).unwatched_ms(), Some(5000));
        assert_eq!(end(at(305, 707)), RunEnd::HostWentDown, "the boot began later");
        assert_eq!(end(at(299, 699)), RunEnd::HostWentDown, "the clock since boot went back");
        assert_eq!(succession(at(20, 730)).unwatched_ms(), Some(30_000), "by the wall clock");
    }

    #[test]
    fn the_end_of_a_run_follows_from_its_record() {
        let (pid, start_ticks) = (std::process::id(), start_ticks("self").unwrap());
        let this = RunRecord { boot_id: "b".to_owned(), began: at(60, 1000), ..RunRecord::default() };
        let end = |record: RunRecord| match predecessor(Ok(Some(record)), &this) {
            Predecessor::OnRecord(_, end) => end,
            other => panic!("{other:?}"),
        };
        let alive = RunRecord { pid, start_ticks, seen: at(300, 700), ..this.clone() };
        assert_eq!(end(alive.clone()), RunEnd::StillRunning);
        assert_eq!(end(RunRecord { start_ticks: start_ticks + 1, ..alive.clone() }), RunEnd::Killed);
        assert_eq!(end(RunRecord { boot_id: "a".to_owned(), ..alive.clone() }), RunEnd::HostWentDown);
        assert_eq!(end(RunRecord { stopped: true, ..alive }), RunEnd::Stopped);
    }
}
