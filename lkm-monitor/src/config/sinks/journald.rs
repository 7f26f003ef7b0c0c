//! `[sinks.NAME.journald]`

use std::path::PathBuf;

use serde::Deserialize;

/// Where systemd-journald listens. That of a journal namespace is `/run/systemd/journal.NAMESPACE/socket`.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// `[sinks.NAME.journald]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournaldConfig {
    /// The socket of systemd-journald.
    pub socket: PathBuf,
}

impl Default for JournaldConfig {
    fn default() -> Self {
        Self { socket: SOCKET.into() }
    }
}

/// What is wrong with `[sinks.NAME.journald]`.
#[derive(Debug, thiserror::Error)]
pub enum JournaldConfigError {
    #[error("journald.socket is `{socket}`, but must be an absolute path")]
    Socket { socket: PathBuf },
}

impl JournaldConfig {
    /// Whether the settings can be used.
    pub fn check(&self) -> Result<(), JournaldConfigError> {
        if self.socket.is_absolute() {
            Ok(())
        } else {
            Err(JournaldConfigError::Socket { socket: self.socket.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_an_absolute_path() {
        assert!(toml::from_str::<JournaldConfig>("").unwrap().check().is_ok());
        let error = toml::from_str::<JournaldConfig>("socket = \"journal\"").unwrap().check().unwrap_err().to_string();
        assert_eq!(error, "journald.socket is `journal`, but must be an absolute path");
    }
}
