//! `[rarity]`: what is counted, where, and what makes it rare.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Invalid, Key, Secret, problem};
use crate::{
    inspect::regular,
    model::{KeyPart, Kind, Severity, Threshold, rarity::WINDOW_DAYS},
    prevalence::{
        Thresholds,
        fleet::{FleetSettings, MAX_MEMBERS},
        link::{self, LinkSettings},
        store::Limits,
        tally::Window,
    },
};

/// Where the counts are when nothing else is said.
pub const STORE: &str = "/var/lib/lkm-monitor/prevalence.redb";

/// The certificates of all authorities that a host trusts take 300 KiB.
const MAX_PEM_BYTES: u64 = 16 * 1024 * 1024;

/// `[rarity]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RarityConfig {
    /// Whether events are counted. Without it each module file that appears alerts, and nothing is rare.
    pub enabled: bool,
    /// Whose events count.
    pub store: StoreKind,
    /// This host's store.
    pub path: PathBuf,
    pub window_days: u32,
    /// Groups that this host's store holds at most.
    pub max_groups: u64,
    pub files: RuleConfig,
    pub tools: RuleConfig,
    pub modules: RuleConfig,
    pub redis: RedisConfig,
}

/// `rarity.store`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// This host's own.
    #[default]
    Host,
    /// Those of all hosts that share a Redis or Valkey server.
    Redis,
}

/// `[rarity.files]`, `[rarity.tools]`, `[rarity.modules]`: what is not set is as built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleConfig {
    pub keys: Option<Vec<KeyPart>>,
    pub max_agents: Option<u64>,
    pub max_count: Option<u64>,
    pub max_args: Option<u64>,
    pub severity: Option<SeverityName>,
}

/// A severity by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    Low,
    Medium,
    High,
    Critical,
}

/// `[rarity.redis]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    pub addresses: Vec<String>,
    pub cluster: bool,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub key_prefix: String,
    pub deadline_ms: u64,
}

impl Default for RarityConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            store: StoreKind::Host,
            path: STORE.into(),
            window_days: WINDOW_DAYS,
            max_groups: 1_000_000,
            files: RuleConfig::default(),
            tools: RuleConfig::default(),
            modules: RuleConfig::default(),
            redis: RedisConfig::default(),
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            cluster: false,
            user: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_prefix: "lkm-monitor:".to_owned(),
            deadline_ms: 250,
        }
    }
}

impl RarityConfig {
    /// What bounds this host's store.
    pub fn limits(&self) -> Result<Limits, Invalid> {
        in_range("window_days", self.window_days.into(), 1, 366)?;
        in_range("max_groups", self.max_groups, 1000, 100_000_000)?;
        Ok(Limits { window: Window { days: self.window_days }, max_groups: self.max_groups })
    }

    /// What makes a group rare.
    pub fn thresholds(&self) -> Result<Thresholds, Invalid> {
        Ok(Thresholds {
            files: self.files.threshold(Kind::File, "files")?,
            tools: self.tools.threshold(Kind::Tool, "tools")?,
            modules: self.modules.threshold(Kind::Module, "modules")?,
        })
    }

    /// How the fleet's store is reached, if there is one. Reads the files that are named.
    pub fn fleet(&self) -> Result<Option<FleetSettings>, Invalid> {
        if self.store == StoreKind::Host {
            return Ok(None);
        }
        let redis = &self.redis;
        let wrong =
            |key: &str, problem: &dyn ToString| Invalid::new(Key::from("rarity.redis").key(key), problem.to_string());
        in_range("redis.deadline_ms", redis.deadline_ms, 10, 10_000)?;
        self.check_addresses()?;
        let secret = |key, path: &PathBuf| match Secret::read(path) {
            Ok(secret) => Ok(secret.expose().to_owned()),
            Err(error) => Err(wrong(key, &error)),
        };
        let read = |key, path: &PathBuf| {
            regular::read(path, MAX_PEM_BYTES).map_err(|error| wrong(key, &format!("{}: {error}", path.display())))
        };
        let password = redis.password_file.as_ref().map(|path| secret("password_file", path)).transpose()?;
        let certificate = match (&redis.certificate_file, &redis.key_file) {
            (Some(certificate), Some(key)) => {
                Some((read("certificate_file", certificate)?, secret("key_file", key)?.into_bytes()))
            }
            (None, None) => None,
            (Some(_), None) => return Err(wrong("certificate_file", &"it is set without key_file")),
            (None, Some(_)) => return Err(wrong("key_file", &"it is set without certificate_file")),
        };
        let link = LinkSettings {
            addresses: redis.addresses.clone(),
            cluster: redis.cluster,
            user: redis.user.clone(),
            password,
            ca: redis.ca_file.as_ref().map(|path| read("ca_file", path)).transpose()?,
            certificate,
            deadline: Duration::from_millis(redis.deadline_ms),
        };
        for address in &redis.addresses {
            link::info(&link, address).map_err(|error| wrong("addresses", &format!("`{address}`: {error}")))?;
            let tls = [("ca_file", link.ca.is_some()), ("certificate_file", link.certificate.is_some())];
            if let Some((key, _)) = tls.into_iter().find(|(_, set)| *set && !is_tls(address)) {
                let problem = format!("it is set, but the address `{address}` does not begin with rediss://");
                return Err(wrong(key, &problem));
            }
        }
        // Last: what is found here hides what is set for a server.
        if redis.addresses.is_empty() {
            return Err(Invalid::new("rarity.store", "it is \"redis\", but rarity.redis.addresses names no server"));
        }
        Ok(Some(FleetSettings { link, prefix: redis.key_prefix.clone() }))
    }

    fn check_addresses(&self) -> Result<(), Invalid> {
        let addresses = &self.redis.addresses;
        let has = |mark| addresses.iter().any(|address| address.contains(mark));
        // Addresses are named in the log.
        let problem = if has('@') {
            "an address holds a user or password; they belong into user and password_file"
        } else if has('#') {
            "an address asks not to look at the server's certificate (#insecure), which is not allowed"
        } else if addresses.iter().any(|address| is_tls(address)) && !addresses.iter().all(|address| is_tls(address)) {
            "some begin with rediss:// and some do not; all must, or none"
        } else {
            return Ok(());
        };
        Err(Invalid::new("rarity.redis.addresses", problem))
    }
}

fn is_tls(address: &str) -> bool {
    address.starts_with("rediss://")
}

impl RuleConfig {
    fn threshold(&self, kind: Kind, rule: &str) -> Result<Threshold, Invalid> {
        let built_in = Threshold::of(kind);
        let wrong = |key: &str, problem: &dyn ToString| {
            Invalid::new(Key::from("rarity").key(rule).key(key), problem.to_string())
        };
        if self.max_args.is_some() && kind != Kind::Tool {
            return Err(wrong("max_args", &"only runs of tools have arguments"));
        }
        let keys = self.keys.clone().unwrap_or(built_in.keys);
        if keys.is_empty() {
            return Err(wrong("keys", &"it is empty; it must name a part at least"));
        }
        if let Some(key) = keys.iter().find(|key| !key.is_of(kind)) {
            return Err(wrong("keys", &format!("these events have no `{}`", key.name())));
        }
        if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(wrong("keys", &"one is there twice"));
        }
        let max_agents = self.max_agents.unwrap_or(built_in.max_agents);
        in_range(&format!("{rule}.max_agents"), max_agents, 1, MAX_MEMBERS - 1)?;
        Ok(Threshold {
            keys,
            max_agents,
            max_count: self.max_count.or(built_in.max_count),
            max_args: self.max_args.or(built_in.max_args),
            severity: self.severity.map(Severity::from),
        })
    }
}

impl From<SeverityName> for Severity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Low => Self::Low,
            SeverityName::Medium => Self::Medium,
            SeverityName::High => Self::High,
            SeverityName::Critical => Self::Critical,
        }
    }
}

fn in_range(key: &str, value: u64, min: u64, max: u64) -> Result<(), Invalid> {
    problem::in_range(Key::from(format!("rarity.{key}").as_str()), value, min, max)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parse(text: &str) -> RarityConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn nothing_set_is_the_hunt() {
        let config = parse("");
        assert_eq!(config.thresholds().unwrap(), Thresholds::default());
        assert_eq!(config.limits().unwrap().window.days, 30);
        assert!(config.fleet().unwrap().is_none());
    }

    #[test]
    fn rules_are_changed_one_by_one() {
        let config =
            parse("[tools]\nmax_args = 5\nkeys = [\"args\", \"user\"]\nseverity = \"high\"\n[files]\nmax_agents = 1\n");
        let thresholds = config.thresholds().unwrap();
        assert_eq!(thresholds.tools.max_args, Some(5));
        assert_eq!(thresholds.tools.keys, [KeyPart::Args, KeyPart::User]);
        assert_eq!((thresholds.tools.max_count, thresholds.tools.severity), (Some(1), Some(Severity::High)));
        assert_eq!(thresholds.files.max_agents, 1);
        assert_eq!(thresholds.modules, Threshold::of(Kind::Module));
    }

    #[test]
    fn mistakes_are_named() {
        let thresholds = |text: &str| parse(text).thresholds().unwrap_err().to_string();
        assert_eq!(thresholds("[files]\nkeys = [\"args\"]\n"), "rarity.files.keys: these events have no `args`");
        assert_eq!(thresholds("[files]\nkeys = []\n"), "rarity.files.keys: it is empty; it must name a part at least");
        assert_eq!(thresholds("[tools]\nkeys = [\"args\", \"args\"]\n"), "rarity.tools.keys: one is there twice");
        assert_eq!(
            thresholds("[modules]\nmax_args = 1\n"),
            "rarity.modules.max_args: only runs of tools have arguments"
        );
        assert_eq!(
            thresholds("[files]\nmax_agents = 64\n"),
            "rarity.files.max_agents: it is 64, but must be from 1 to 63"
        );
        let limits = parse("window_days = 0\n").limits().unwrap_err().to_string();
        assert_eq!(limits, "rarity.window_days: it is 0, but must be from 1 to 366");
        let fleet = |text: &str| parse(&format!("store = \"redis\"\n[redis]\n{text}")).fleet().unwrap_err().to_string();
        assert_eq!(fleet(""), "rarity.store: it is \"redis\", but rarity.redis.addresses names no server");
        assert!(fleet("addresses = [\"redis://me:hush@a\"]\n").contains("password_file"));
        assert!(!fleet("addresses = [\"redis://me:hush@a\"]\n").contains("hush"));
        assert!(fleet("addresses = [\"rediss://a\", \"redis://b\"]\n").contains("some begin with rediss://"));
        assert!(fleet("addresses = [\"rediss://a/#insecure\"]\n").contains("#insecure"));
        assert!(fleet("addresses = [\"http://a\"]\n").starts_with("rarity.redis.addresses: `http://a`: "));
        let redis = "addresses = [\"redis://127.0.0.1\"]\n";
        assert!(fleet(&format!("{redis}password_file = \"/none\"")).starts_with("rarity.redis.password_file: /none: "));
        assert_eq!(
            fleet(&format!("{redis}key_file = \"/none\"")),
            "rarity.redis.key_file: it is set without certificate_file"
        );
        assert!(fleet(&format!("{redis}ca_file = \"/dev/null\"")).ends_with("/dev/null: not a regular file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let ca = format!("{redis}ca_file = \"{}\"", file.path().display());
        assert!(fleet(&ca).contains("does not begin with rediss://"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hush\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "store = \"redis\"\n[redis]\naddresses = [\"redis://127.0.0.1\"]\npassword_file = \"{}\"\n",
            path.display()
        );
        let fleet = parse(&text).fleet().unwrap().unwrap();
        assert_eq!(fleet.link.password.as_deref(), Some("hush"));
        assert!(!format!("{fleet:?}").contains("hush"));
    }
}
