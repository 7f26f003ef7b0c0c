//! The daemon's own log: to standard error, never mixed with documents.

use std::thread;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::lifecycle::privileges;

/// Lines that may wait for whoever reads the log.
const QUEUE: usize = 1024;

/// Sets up logging. `RUST_LOG` chooses what is shown; the default is `info`.
///
/// A thread of its own writes: the reader of the rings must not wait for whoever reads the log. What does not fit into its
/// queue is dropped; whatever matters is in the documents. What is queued is written when the guard is dropped.
pub fn start() -> WorkerGuard {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (writer, guard) = thread::scope(|scope| {
        // The thread that writes has the capabilities of the one that starts it.
        let unprivileged = scope.spawn(|| privileges::keep_nothing().map(|()| writer()));
        unprivileged.join().ok().and_then(Result::ok)
    })
    .unwrap_or_else(writer);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .finish();
    // Only a second call fails, and then a subscriber is there.
    let _ = tracing::subscriber::set_global_default(subscriber);
    guard
}

fn writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).finish(std::io::stderr())
}
