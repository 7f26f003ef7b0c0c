//! `[integrity]`: looks at the kernel for what hides in it.

use std::time::Duration;

use serde::Deserialize;

use super::{Invalid, Key, problem::in_range};

/// A day: who waits longer for the next look does not look.
const MAX_INTERVAL_S: u32 = 86_400;

/// `[integrity]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegrityConfig {
    pub enabled: bool,
    /// Seconds between two looks, while no module comes or goes.
    pub interval_s: u32,
}

impl Default for IntegrityConfig {
    fn default() -> Self {
        Self { enabled: true, interval_s: 600 }
    }
}

impl IntegrityConfig {
    /// Between two looks; `None` where nobody looks.
    pub fn interval(&self) -> Result<Option<Duration>, Invalid> {
        let key = Key::from("integrity").key("interval_s");
        in_range(key, self.interval_s.into(), 1, MAX_INTERVAL_S.into())?;
        Ok(self.enabled.then(|| Duration::from_secs(self.interval_s.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_can_be_switched_off_and_the_interval_is_checked() {
        let of = |text| toml::from_str::<IntegrityConfig>(text).unwrap().interval();
        assert_eq!(of(""), Ok(Some(Duration::from_secs(600))));
        assert_eq!(of("interval_s = 1"), Ok(Some(Duration::from_secs(1))));
        assert_eq!(of("enabled = false"), Ok(None));
        for wrong in ["interval_s = 0", "interval_s = 86401"] {
            assert!(of(wrong).unwrap_err().to_string().starts_with("integrity.interval_s: it is "), "{wrong}");
        }
    }
}
