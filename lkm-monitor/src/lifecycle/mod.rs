//! Exit codes, signals, privileges, the service manager, threads in the background, and the orderly end.

pub mod background;
pub mod notify;
pub mod privileges;

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit codes, after sysexits(3).
pub mod exit {
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// No probe that sees a load can be attached now.
    pub const SENSOR_UNAVAILABLE: u8 = 69;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// How long the documents that are queued at the end may take to be written.
pub const DRAIN: Duration = Duration::from_secs(10);

/// The signals that end the daemon.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Begins to listen. Needs a tokio runtime with I/O.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT and names it.
    pub async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::exit;

    #[test]
    fn the_unit_gives_up_where_another_try_would_end_the_same_way_and_nowhere_else() {
        let unit = include_str!("../../../dist/systemd/lkm-monitor.service");
        let given_up: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("RestartPreventExitStatus=")).collect();
        assert_eq!(given_up, [format!("{} {}", exit::USAGE, exit::CONFIG)]);
    }
}
