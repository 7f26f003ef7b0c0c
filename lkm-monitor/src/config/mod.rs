//! Settings: TOML, every key optional, unknown keys refused.
//!
//! ```text
//! source: files --> tree: values with their places, merged --> de --> structs --> check
//! ```
//!
//! A new setting is a member of a struct and some lines in `default.toml`; what it may be, `check` says, or whoever makes use of it.

mod change;
mod de;
mod evidence;
mod example;
mod files;
mod heartbeat;
mod integrity;
mod key;
mod load;
mod metrics;
mod problem;
mod rarity;
mod secret;
mod signatures;
pub mod sinks;
mod source;
mod spool;
mod state;
mod tree;

use std::collections::BTreeMap;

pub use change::InForce;
pub use evidence::EvidenceConfig;
pub use example::DEFAULT_FILE;
pub use files::FilesConfig;
pub use heartbeat::{HeartbeatConfig, RUN_RECORD};
pub use integrity::IntegrityConfig;
pub use key::{Key, Origin};
use lkm_monitor_common::limits;
pub use load::{Effective, Loaded, load};
pub use metrics::MetricsConfig;
pub use problem::{Invalid, Invalids, Problem, Problems};
pub use rarity::{RarityConfig, STORE};
#[cfg(test)]
pub(crate) use secret::secret_file;
pub use secret::{Secret, SecretError};
use serde::Deserialize;
pub use signatures::SignaturesConfig;
pub use source::DEFAULT_PATH;
pub use spool::SpoolConfig;
pub use state::{STATE_RECORD, StateConfig};

use self::sinks::{FileConfig, Plan, SinkConfig};

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
    pub heartbeat: HeartbeatConfig,
    pub metrics: MetricsConfig,
    pub signatures: SignaturesConfig,
    pub evidence: EvidenceConfig,
    pub integrity: IntegrityConfig,
    pub state: StateConfig,
    pub spool: SpoolConfig,
    /// By their names. Without any there is one, `file`.
    pub sinks: BTreeMap<String, SinkConfig>,
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
    /// Bytes of the ring for module images.
    pub images_ring_bytes: u32,
    /// Bytes that are captured of an image; 0 for none.
    pub image_bytes: u32,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            syscall_hooks: SyscallHooks::default(),
            calls_ring_bytes: limits::CALLS_RING_BYTES,
            truth_ring_bytes: limits::TRUTH_RING_BYTES,
            files_ring_bytes: limits::FILES_RING_BYTES,
            images_ring_bytes: limits::IMAGES_RING_BYTES,
            image_bytes: limits::IMAGE_BYTES,
        }
    }
}

impl Config {
    /// Finds the first value that its type allows, and that is wrong all the same; of sinks all of them.
    fn check(&self) -> Result<(), Invalids> {
        self.sensor.check()?;
        self.files.watch_list()?;
        self.files.exclusions()?;
        self.rarity.limits()?;
        self.rarity.thresholds()?;
        self.rarity.fleet()?;
        self.heartbeat.check()?;
        self.metrics.listen()?;
        self.signatures.sources("")?;
        self.evidence.settings()?;
        self.integrity.interval()?;
        self.state.check()?;
        self.spool.settings()?;
        self.plans()?;
        Ok(())
    }

    /// The sinks. Reads the files that they name.
    pub fn plans(&self) -> Result<BTreeMap<String, Plan>, Invalids> {
        let default =
            || [("file".to_owned(), SinkConfig { file: Some(FileConfig::default()), ..SinkConfig::default() })];
        let sinks = if self.sinks.is_empty() { &default().into() } else { &self.sinks };
        let (mut plans, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, sink) in sinks {
            match Plan::of(name, sink) {
                Ok(plan) => drop(plans.insert(name.clone(), plan)),
                Err(Invalids(more)) => problems.extend(more),
            }
        }
        problems.extend(sinks::second_writers(&plans));
        if problems.is_empty() { Ok(plans) } else { Err(Invalids(problems)) }
    }
}

impl SensorConfig {
    fn check(&self) -> Result<(), Invalid> {
        for (key, value) in [
            ("calls_ring_bytes", self.calls_ring_bytes),
            ("truth_ring_bytes", self.truth_ring_bytes),
            ("files_ring_bytes", self.files_ring_bytes),
            ("images_ring_bytes", self.images_ring_bytes),
        ] {
            let (min, max) = (64 * 1024, 1 << 30);
            if !value.is_power_of_two() || !(min..=max).contains(&value) {
                let problem = format!("it is {value}, but must be a power of two from {min} to {max}");
                return Err(Invalid::new(Key::from("sensor").key(key), problem));
            }
        }
        // An image that fills its ring has no room for the heads of its pieces, nor for another one beside it.
        let max = limits::MAX_IMAGE_BYTES.min(self.images_ring_bytes / 2);
        if self.image_bytes > max {
            let problem =
                format!("it is {}, but must be at most {max}: half of sensor.images_ring_bytes", self.image_bytes);
            return Err(Invalid::new(Key::from("sensor").key("image_bytes"), problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
