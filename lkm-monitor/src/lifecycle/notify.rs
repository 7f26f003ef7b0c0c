//! What the service manager is told, after sd_notify(3) and sd_watchdog_enabled(3). Without one, nothing is.
//!
//! The crates for this wait until the manager takes the message. The reader of the rings tells it, and that one never waits.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

/// The service manager, if it started the daemon and wants to be told.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

/// When the manager was last told that the daemon is alive.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    told: Option<Instant>,
}

impl ServiceManager {
    /// The manager that the environment names. One that cannot be reached is said in the log, and does without.
    pub fn of_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|path| {
            connect(&path)
                .inspect_err(|error| tracing::warn!(%error, "the service manager cannot be told anything"))
                .ok()
        });
        let watchdog = watchdog_timeout(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID"))
            // Half of it is what sd_watchdog_enabled(3) recommends; one more leaves room for a slow turn.
            .map(|timeout| Watchdog { every: timeout / 3, told: None });
        Self { socket, watchdog }
    }

    /// Everything is attached: loads are seen from now on. `status` is one line for people.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", in_one_line(status)));
    }

    /// The daemon ends before it is ready, for this reason. Whether there is somebody who starts it anew.
    pub fn not_ready(&self, reason: &str) -> bool {
        self.tell(&format!("STATUS={}", in_one_line(reason)));
        self.socket.is_some()
    }

    /// The configuration is being read again; [`Self::ready`] ends it. The time is what `Type=notify-reload` asks for.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS=Reading the configuration again"));
    }

    /// The daemon ends: what was seen is passed on.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Passing on what was seen");
    }

    /// To be called after each turn of the main loop, when the rings were read: proves that both are alive. Most calls tell
    /// nothing; `status` is asked for when one does.
    pub fn alive(&mut self, status: impl FnOnce() -> String) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if watchdog.told.is_some_and(|told| told.elapsed() < watchdog.every) {
            return;
        }
        watchdog.told = Some(Instant::now());
        self.tell(&format!("WATCHDOG=1\nSTATUS={}", in_one_line(&status())));
    }

    /// A message that the manager has no room for is not sent: the next one is as good.
    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

/// A path, or with `@` a name that is in no file system.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// How long the manager waits for a sign of life, if it does, and if it means this process.
fn watchdog_timeout(usec: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(std::process::id()))) {
        return None;
    }
    usec.and_then(number).filter(|usec| *usec > 0).map(Duration::from_micros)
}

/// A line end would begin another message.
fn in_one_line(status: &str) -> String {
    status.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut message = [0; 512];
        let read = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..read].to_vec()).unwrap()
    }

    fn manager_of(socket: &UnixDatagram, every: Duration) -> ServiceManager {
        let path = socket.local_addr().unwrap().as_pathname().unwrap().to_owned();
        let watchdog = Some(Watchdog { every, told: None });
        ServiceManager { socket: Some(connect(path.as_os_str()).unwrap()), watchdog }
    }

    #[test]
    fn the_manager_follows_the_life_of_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let manager = manager_of(&socket, Duration::ZERO);
        assert!(manager.not_ready("no type\ninformation"));
        assert_eq!(received(&socket), "STATUS=no type information");
        assert!(!ServiceManager::default().not_ready("nobody"));
        manager.ready("watching\nREADY=0");
        assert_eq!(received(&socket), "READY=1\nSTATUS=watching READY=0");
        manager.reloading();
        assert!(received(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        manager.stopping();
        assert!(received(&socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn signs_of_life_are_given_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let mut manager = manager_of(&socket, Duration::from_secs(3600));
        manager.alive(|| "first".to_owned());
        manager.alive(|| "second".to_owned());
        manager.stopping();
        assert_eq!(received(&socket), "WATCHDOG=1\nSTATUS=first");
        assert!(received(&socket).starts_with("STOPPING=1\n"), "the second one was too soon");
    }

    #[test]
    fn a_manager_that_takes_nothing_does_not_make_us_wait() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let mut manager = manager_of(&socket, Duration::ZERO);
        // Many more than a socket's queue holds (net.unix.max_dgram_qlen, and the buffer of the sender).
        let status = "x".repeat(4096);
        (0..10_000).for_each(|_| manager.alive(|| status.clone()));
        assert!(received(&socket).starts_with("WATCHDOG=1\n"));
    }

    #[test]
    fn names_outside_the_file_system() {
        let name = format!("lkm-monitor-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        connect(OsStr::new(&format!("@{name}"))).unwrap().send(b"READY=1").unwrap();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn the_watchdog_is_for_one_process() {
        let timeout = |usec: &str, pid: Option<String>| watchdog_timeout(Some(usec.into()), pid.map(OsString::from));
        let own = std::process::id();
        assert_eq!(timeout("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(timeout("3000000", Some(own.to_string())), Some(Duration::from_secs(3)));
        assert_eq!(timeout("3000000", Some((own + 1).to_string())), None);
        assert_eq!(timeout("3000000", Some("garbage".to_owned())), None);
        assert_eq!(timeout("0", None), None);
        assert_eq!(timeout("garbage", None), None);
        assert_eq!(watchdog_timeout(None, None), None);
    }
}
