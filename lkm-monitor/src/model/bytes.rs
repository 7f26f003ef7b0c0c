//! Bytes that are no text.

/// A byte string from the kernel or a process: not text, and perhaps cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub bytes: Vec<u8>,
    /// Cut at a documented limit.
    pub truncated: bool,
}

impl Bytes {
    /// Uncut bytes.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), truncated: false }
    }
}
