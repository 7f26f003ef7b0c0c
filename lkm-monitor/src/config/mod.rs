//! Settings: TOML, every key optional, unknown keys refused.

mod files;
mod rarity;
mod secret;
pub mod sinks;

use std::path::{Path, PathBuf};

pub use files::{FilesConfig, FilesError};
pub use rarity::{RarityConfig, RarityError, STORE};
pub use secret::{Secret, SecretError};
use serde::Deserialize;

/// Read when no other file is named; it need not exist.
pub const DEFAULT_PATH: &str = "/etc/lkm-monitor/config.toml";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path}: sensor.{key} is {value}, but must be a power of two from {min} to {max} (bytes)")]
    RingBytes { path: PathBuf, key: &'static str, value: u32, min: u32, max: u32 },
    #[error("{path}: {source}")]
    Files { path: PathBuf, source: FilesError },
    #[error("{path}: {source}")]
    Rarity { path: PathBuf, source: RarityError },
}

/// How module system calls are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyscallHooks {
    /// Trampolines, or trace events where trampolines do not work.
    #[default]
    Auto,
    /// Trampolines only.
    Fentry,
    /// Trace events only. They cost every system call of the host, and do not see 32-bit callers.
    Tracepoint,
}

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub sensor: SensorConfig,
    pub files: FilesConfig,
    pub rarity: RarityConfig,
}

/// `[sensor]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    pub syscall_hooks: SyscallHooks,
    /// Bytes of the ring for calls and requests.
    pub calls_ring_bytes: u32,
    /// Bytes of the ring for what the kernel confirmed.
    pub truth_ring_bytes: u32,
    /// Bytes of the ring for what root does to watched files, and the module tools that it runs.
    pub files_ring_bytes: u32,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            syscall_hooks: SyscallHooks::default(),
            calls_ring_bytes: lkm_monitor_common::limits::CALLS_RING_BYTES,
            truth_ring_bytes: lkm_monitor_common::limits::TRUTH_RING_BYTES,
            files_ring_bytes: lkm_monitor_common::limits::FILES_RING_BYTES,
        }
    }
}

/// Reads `path`, or the default path when that exists, or takes the defaults.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let named = path.is_some();
    let path = path.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(source) if !named && source.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
    for (key, value) in [
        ("calls_ring_bytes", config.sensor.calls_ring_bytes),
        ("truth_ring_bytes", config.sensor.truth_ring_bytes),
        ("files_ring_bytes", config.sensor.files_ring_bytes),
    ] {
        let (min, max) = (64 * 1024, 1 << 30);
        if !value.is_power_of_two() || !(min..=max).contains(&value) {
            return Err(ConfigError::RingBytes { path: path.to_owned(), key, value, min, max });
        }
    }
    let files = |source| ConfigError::Files { path: path.to_owned(), source };
    config.files.watch_list().map_err(files)?;
    config.files.exclusions().map_err(files)?;
    let rarity = |source| ConfigError::Rarity { path: path.to_owned(), source };
    config.rarity.limits().map_err(rarity)?;
    config.rarity.thresholds().map_err(rarity)?;
    config.rarity.fleet().map_err(rarity)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Config, ConfigError> {
        parse(text, Path::new("config.toml"))
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        assert_eq!(parse_text("").expect("valid"), Config::default());
    }

    #[test]
    fn settings_are_taken() {
        let config = parse_text("[sensor]\nsyscall_hooks = \"tracepoint\"\ncalls_ring_bytes = 65536\n").expect("valid");
        assert_eq!(config.sensor.syscall_hooks, SyscallHooks::Tracepoint);
        assert_eq!(config.sensor.calls_ring_bytes, 65536);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = parse_text("[sensor]\nsyscal_hooks = \"auto\"\n").expect_err("unknown key").to_string();
        assert!(error.contains("config.toml") && error.contains("syscal_hooks") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_ring_that_the_kernel_would_refuse_is_refused_here() {
        let error = parse_text("[sensor]\ncalls_ring_bytes = 100000\n").expect_err("no power of two").to_string();
        assert!(error.contains("sensor.calls_ring_bytes is 100000"), "{error}");
    }
}
