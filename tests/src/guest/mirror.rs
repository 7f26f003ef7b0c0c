//! The daemon's documents on the second serial port, for the harness outside of the machine.

use std::{
    fs::OpenOptions,
    io::Write as _,
    sync::{
        OnceLock,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

const PORT: &str = "/dev/ttyS1";

static LINES: OnceLock<Sender<Option<Vec<u8>>>> = OnceLock::new();

/// The thread that writes: a serial line is slow, and no scenario waits for it.
pub(crate) struct Mirror(JoinHandle<()>);

impl Mirror {
    pub(crate) fn start() -> Self {
        let mut port = OpenOptions::new().write(true).open(PORT).expect("open the second serial port");
        let mut attributes = tcgetattr(&port).expect("the port is a terminal");
        attributes.make_raw();
        tcsetattr(&port, OptionalActions::Now, &attributes).expect("make the port raw");
        let (sender, lines) = mpsc::channel::<Option<Vec<u8>>>();
        LINES.set(sender).expect("one mirror");
        Self(thread::spawn(move || {
            while let Ok(Some(line)) = lines.recv() {
                port.write_all(&line).expect("write to the second serial port");
            }
            tcdrain(&port).expect("drain the second serial port");
        }))
    }

    /// Returns when everything is written.
    pub(crate) fn finish(self) {
        send(None);
        let _ = self.0.join();
    }
}

/// Queues one line, newline included.
pub(crate) fn write(line: &[u8]) {
    send(Some(line.to_vec()));
}

fn send(line: Option<Vec<u8>>) {
    if let Some(lines) = LINES.get() {
        let _ = lines.send(line);
    }
}
