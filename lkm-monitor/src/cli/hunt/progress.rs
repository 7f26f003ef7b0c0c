//! How far the reading of files is, for who waits at a terminal.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done before it would be read is not shown.
const QUIET: Duration = Duration::from_secs(1);

/// Packed bytes that were read, of those that all files have.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// Of all files.
    read: Arc<AtomicU64>,
    begin: Instant,
}

impl Progress {
    /// Shown on standard error, where that is a terminal.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let bytes = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|facts| facts.len()).sum();
        // Hides itself where nobody looks.
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let template = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, read: Arc::default(), begin: Instant::now() }
    }

    /// A file that counts what is read of it.
    pub(super) fn watch(&self, file: File) -> impl Read + use<> {
        Watched { file, progress: self.clone() }
    }

    /// Leaves nothing on the terminal.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

struct Watched {
    file: File,
    progress: Progress,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        let Progress { bar, read, begin } = &self.progress;
        let all = read.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if begin.elapsed() > QUIET {
            // Draws it, a few times a second at most.
            bar.set_position(all);
        }
        Ok(bytes)
    }
}
