//! `[metrics]`: where others may fetch what the daemon counts.

use serde::Deserialize;

use super::{Invalid, Key};
use crate::metrics::Listen;

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// An address of the loopback with its port, or `unix:` and the path of a socket. Nowhere when it is not set.
    pub listen: Option<String>,
}

impl MetricsConfig {
    /// Where, if anywhere.
    pub fn listen(&self) -> Result<Option<Listen>, Invalid> {
        let parsed = self.listen.as_ref().map(|listen| listen.parse()).transpose();
        parsed.map_err(|error| Invalid::new(Key::from("metrics").key("listen"), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(listen: &str) -> Result<Option<Listen>, String> {
        let config = MetricsConfig { listen: Some(listen.to_owned()) };
        config.listen().map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_can_ask_unless_it_is_set() {
        assert_eq!(MetricsConfig::default().listen(), Ok(None));
    }

    #[test]
    fn places_on_this_host_are_taken() {
        for address in ["127.0.0.1:9464", "127.0.0.2:80", "[::1]:9464"] {
            assert_eq!(listen(address), Ok(Some(Listen::Loopback(address.parse().unwrap()))));
        }
        assert_eq!(listen("unix:/run/a.sock"), Ok(Some(Listen::Unix("/run/a.sock".into()))));
    }

    #[test]
    fn places_that_others_reach_are_refused() {
        for address in ["0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464", "[fe80::1]:9464", "[::ffff:127.0.0.1]:9464"] {
            let error = listen(address).unwrap_err();
            assert!(
                error.starts_with("metrics.listen: ") && error.contains("can be reached from other hosts"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["", "9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "unix:", "unix:a.sock", "unix:/", &long]
        {
            let error = listen(text).unwrap_err();
            assert!(error.starts_with(&format!("metrics.listen: it is `{text}`, but must be like")), "{error}");
        }
    }
}
