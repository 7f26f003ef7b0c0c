//! `[state]`: looks at the host, which are compared with each other.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    Invalid, Key,
    problem::{absolute, in_range},
};

/// Where the record of the last look is when nothing else is said.
pub const STATE_RECORD: &str = "/var/lib/lkm-monitor/state.json";

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    pub enabled: bool,
    /// The file with the last look.
    pub path: PathBuf,
    /// Seconds between two looks.
    pub interval_s: u32,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { enabled: true, path: PathBuf::from(STATE_RECORD), interval_s: 6 * 3600 }
    }
}

impl StateConfig {
    /// Whether the settings make sense.
    pub fn check(&self) -> Result<(), Invalid> {
        let key = |name| Key::from("state").key(name);
        absolute(key("path"), &self.path, "file")?;
        // A look takes as long as a second; a week without one is none.
        in_range(key("interval_s"), self.interval_s.into(), 60, 7 * 86_400)
    }

    pub const fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked() {
        let checked = |text| toml::from_str::<StateConfig>(text).unwrap().check();
        assert_eq!(checked(""), Ok(()));
        assert_eq!(checked("enabled = false\ninterval_s = 604800"), Ok(()));
        for (wrong, key) in [("path = \"a\"", "state.path"), ("interval_s = 59", "state.interval_s")] {
            assert!(checked(wrong).unwrap_err().to_string().contains(key), "{wrong}");
        }
    }
}
