//! What is kept of a module that an alert was about.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

/// The image of a module, as the kernel read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptImage {
    /// Its exact bytes from the beginning; all of them, or as many as could be had.
    pub content: Arc<Vec<u8>>,
    /// Bytes that the kernel read.
    pub size: u64,
}

/// One load of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLoad {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// `event.id` of the document on it.
    pub event_id: String,
    pub boot_id: String,
    /// As the kernel shows it in /proc/modules.
    pub module_name: Vec<u8>,
    /// `None` for an image that came from memory.
    pub path: Option<Vec<u8>>,
    /// Of who loaded it.
    pub pid: u32,
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// `rule.id` of each finding.
    pub rules: Vec<String>,
    /// Code of it ran, or may have: the kernel did not refuse it.
    pub ran: bool,
}

/// Why the image of a load that alerts is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceCause {
    /// No file has it, or none that has a name.
    Memory,
    /// It has no signature that a key of this host made.
    Unsigned,
    /// No package's record has these bytes.
    Unpackaged,
    /// Whatever the alert is about.
    Alert,
}
