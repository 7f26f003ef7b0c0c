//! `[sinks.NAME.syslog]`

use serde::Deserialize;

use super::TlsConfig;
use crate::sinks::{
    syslog::SyslogSettings,
    tls::{TlsError, TlsFiles},
};

/// Facilities of RFC 5424, table 1, by the names that syslog daemons give them; their numbers are their places.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// `[sinks.NAME.syslog]`: RFC 5424 messages over TCP with octet counting (RFC 6587), or over TLS (RFC 5425).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogConfig {
    /// `host:port` of the receiver. It must be given. RFC 5425 gives TLS port 6514.
    pub address: String,
    /// Its presence, even empty, turns TLS on. The certificate must be for the host in `address`.
    pub tls: Option<TlsConfig>,
    /// The facility. The default, `authpriv`, is for messages on security that not everybody may read, and every receiver knows it and
    /// keeps it apart; `audit` (13) would say more, but some receivers do not know its name.
    pub facility: String,
    /// A message with a longer document is sent reduced: rsyslog cuts messages after 8 KiB unless it is told otherwise.
    pub max_bytes: u32,
    /// The private enterprise number in the name of the structured data. The default is the one for examples (RFC 5612).
    pub enterprise_number: u32,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        Self {
            address: String::new(),
            tls: None,
            facility: "authpriv".to_owned(),
            max_bytes: 8192,
            enterprise_number: 32473,
        }
    }
}

/// What is wrong with `[sinks.NAME.syslog]`.
#[derive(Debug, thiserror::Error)]
pub enum SyslogConfigError {
    #[error("syslog.address is `{address}`, but must be host:port")]
    Address { address: String },
    #[error("syslog.facility is `{facility}`, but must be one of {}", FACILITIES.join(", "))]
    Facility { facility: String },
    #[error("syslog.max_bytes is {value}, but must be from {min} to {max}")]
    MaxBytes { value: u32, min: u32, max: u32 },
    #[error("syslog.{0}")]
    Tls(#[from] TlsError),
}

impl SyslogConfig {
    /// The settings of the sink. Looks into the files of TLS.
    pub fn settings(&self) -> Result<SyslogSettings, SyslogConfigError> {
        let (host, port) =
            split(&self.address).ok_or_else(|| SyslogConfigError::Address { address: self.address.clone() })?;
        let facility = FACILITIES
            .iter()
            .zip(0_u8..)
            .find_map(|(name, number)| (*name == self.facility).then_some(number))
            .ok_or_else(|| SyslogConfigError::Facility { facility: self.facility.clone() })?;
        // What every receiver should take (RFC 5424, section 6.1), and what is longer than any document.
        let (min, max) = (2048, 1 << 20);
        if !(min..=max).contains(&self.max_bytes) {
            return Err(SyslogConfigError::MaxBytes { value: self.max_bytes, min, max });
        }
        if let Some(tls) = &self.tls {
            TlsFiles::read(tls)?;
        }
        Ok(SyslogSettings {
            tls: self.tls.clone(),
            host: host.to_owned(),
            port,
            facility,
            max_bytes: self.max_bytes as usize,
            enterprise_number: self.enterprise_number,
        })
    }
}

/// A name or an address, of which one of IPv6 is in brackets, and a port.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<SyslogSettings, SyslogConfigError> {
        toml::from_str::<SyslogConfig>(text).unwrap().settings()
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (address, host) in [("siem:6514", "siem"), ("10.0.0.1:601", "10.0.0.1"), ("[::1]:601", "::1")] {
            assert_eq!(settings(&format!("address = \"{address}\"")).unwrap().host, host);
        }
        for address in ["", "siem", "siem:", ":601", "::1:601", "siem:0", "siem:70000", "[::1:601"] {
            let error = settings(&format!("address = \"{address}\"")).unwrap_err().to_string();
            assert_eq!(error, format!("syslog.address is `{address}`, but must be host:port"));
        }
    }

    #[test]
    fn facilities_have_the_numbers_of_the_rfc() {
        for (name, number) in [("kern", 0), ("authpriv", 10), ("audit", 13), ("local0", 16), ("local7", 23)] {
            let settings = settings(&format!("address = \"siem:601\"\nfacility = \"{name}\"")).unwrap();
            assert_eq!(settings.facility, number);
        }
        let error = settings("address = \"siem:601\"\nfacility = \"locals\"").unwrap_err().to_string();
        assert!(error.starts_with("syslog.facility is `locals`, but must be one of kern, "), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_its_key() {
        let error = settings("address = \"siem:6514\"\n[tls]\nca_file = \"/no/such/file\"").unwrap_err().to_string();
        assert!(error.starts_with("syslog.tls.ca_file: /no/such/file: "), "{error}");
    }

    #[test]
    fn a_limit_that_leaves_no_room_is_refused() {
        let error = settings("address = \"siem:601\"\nmax_bytes = 480").unwrap_err().to_string();
        assert!(error.starts_with("syslog.max_bytes is 480"), "{error}");
    }
}
