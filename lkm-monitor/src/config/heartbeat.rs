//! `[heartbeat]`: signs of life, and the record that one run leaves for the next.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Invalid, Key};

/// Where the record of a run is when nothing else is said.
pub const RUN_RECORD: &str = "/var/lib/lkm-monitor/run.json";
/// A day: who waits longer for a sign of life does not wait for one.
const MAX_INTERVAL_S: u32 = 86_400;
/// How often the record is written where no document asks for it.
const RECORD_INTERVAL_S: u32 = 60;

/// `[heartbeat]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Seconds between two heartbeats; 0 for none.
    pub interval_s: u32,
    /// The file with the record of the run.
    pub run_record: PathBuf,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { interval_s: 60, run_record: PathBuf::from(RUN_RECORD) }
    }
}

impl HeartbeatConfig {
    /// Whether the settings make sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let key = |name| Key::from("heartbeat").key(name);
        if self.interval_s > MAX_INTERVAL_S {
            let problem = format!("it is {}, but must be at most {MAX_INTERVAL_S}", self.interval_s);
            return Err(Invalid::new(key("interval_s"), problem));
        }
        if !self.run_record.is_absolute() || self.run_record.file_name().is_none() {
            let problem = format!("`{}` must be the absolute path of a file", self.run_record.display());
            return Err(Invalid::new(key("run_record"), problem));
        }
        Ok(())
    }

    /// Between two heartbeats; `None` where there are none.
    pub fn interval(&self) -> Option<Duration> {
        (self.interval_s > 0).then(|| Duration::from_secs(self.interval_s.into()))
    }

    /// Between two writings of the record.
    pub fn record_interval(&self) -> Duration {
        self.interval().unwrap_or(Duration::MAX).min(Duration::from_secs(RECORD_INTERVAL_S.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_can_be_switched_off_and_the_record_is_kept() {
        let config: HeartbeatConfig = toml::from_str("interval_s = 0").unwrap();
        assert_eq!((config.check(), config.interval()), (Ok(()), None));
        assert_eq!(config.record_interval(), Duration::from_secs(60));
        let config: HeartbeatConfig = toml::from_str("interval_s = 5").unwrap();
        assert_eq!(config.record_interval(), Duration::from_secs(5));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| toml::from_str::<HeartbeatConfig>(text).unwrap().check().unwrap_err().to_string();
        assert!(error("interval_s = 86401").contains("heartbeat.interval_s: it is 86401"));
        for path in ["run.json", "/"] {
            assert!(error(&format!("run_record = \"{path}\"")).contains(&format!("`{path}` must be")));
        }
    }
}
