//! The daemon's own log: to standard error, never mixed with documents.

use tracing_subscriber::EnvFilter;

/// Sets up logging. `RUST_LOG` chooses what is shown; the default is `info`.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    // Only a second call fails, and then a subscriber is there.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
