//! Work that can wait: threads that look at the host from time to time give way to everything else, and do not all look at once.

use std::{io, time::Duration};

use rustix::{
    process::setpriority_process,
    rand::{GetRandomFlags, getrandom},
};

/// The lowest there is (setpriority(2)).
const NICE: i32 = 19;

/// Lets the calling thread give way to all others: nice 19, and no wish to be woken soon (`SCHED_BATCH` in sched(7)). Both may be
/// forbidden, which is said and hinders nothing.
///
/// Of a thread, and not of the process: Linux keeps both for each thread, and 0 names the one that calls. Not `SCHED_IDLE`: who keeps
/// all processors busy could put off for hours what is to find him.
pub fn lower_this_thread() {
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::warn!(%error, "a thread in the background cannot be made nice: it takes its share like any other");
    }
    if let Err(error) = run_in_batches() {
        tracing::warn!(%error, "a thread in the background cannot be scheduled as one: it is woken like any other");
    }
}

/// By the system call itself: musl does not implement the function.
fn run_in_batches() -> io::Result<()> {
    let priority: libc::c_int = 0;
    // SAFETY: `struct sched_param` of the kernel (include/uapi/linux/sched/types.h) has this one member; it is read, and no pointer kept.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An interval that is up to a tenth shorter or longer: the hosts of a fleet that were started together do not look together.
pub fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random numbers the interval is what it is.
    match getrandom(&mut random, GetRandomFlags::NONBLOCK) {
        Ok(filled) if filled == random.len() => spread(interval, u32::from_le_bytes(random)),
        _ => interval,
    }
}

/// From nine to eleven tenths of the interval, evenly by `random`.
fn spread(interval: Duration, random: u32) -> Duration {
    let share = f64::from(random) / f64::from(u32::MAX);
    interval.mul_f64(0.9 + share / 5.0)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn an_interval_is_a_tenth_shorter_or_longer_at_the_most() {
        let hour = Duration::from_secs(3600);
        assert_eq!(spread(hour, 0), hour.mul_f64(0.9));
        assert_eq!(spread(hour, u32::MAX), hour.mul_f64(1.1));
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
        let drawn: std::collections::BTreeSet<_> = (0..64).map(|_| jittered(hour)).collect();
        assert!(drawn.len() > 1, "they differ");
        assert!(drawn.iter().all(|drawn| (spread(hour, 0)..=spread(hour, u32::MAX)).contains(drawn)));
    }

    #[test]
    fn the_thread_that_asks_gives_way_and_no_other() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let lowered = std::thread::spawn(move || {
            lower_this_thread();
            // SAFETY: a number is asked for by a number.
            let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
            (nice(), policy)
        });
        assert_eq!(lowered.join().unwrap(), (NICE, libc::c_long::from(libc::SCHED_BATCH)));
        assert_eq!(nice(), before);
    }
}
