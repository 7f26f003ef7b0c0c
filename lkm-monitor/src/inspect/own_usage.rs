//! What the daemon itself takes.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use super::regular;

/// Resident memory in bytes (`VmRSS` of proc_pid_status(5)); `None` where /proc does not say.
pub fn memory_bytes() -> Option<u64> {
    let status = regular::read(Path::new("/proc/self/status"), 16 * 1024).ok()?;
    let line = std::str::from_utf8(&status).ok()?.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Processor time of all threads since the start, in nanoseconds.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_takes_something() {
        assert!(memory_bytes().unwrap() > 1024 * 1024);
        let before = cpu_ns();
        assert!(before > 0 && cpu_ns() >= before);
    }
}
