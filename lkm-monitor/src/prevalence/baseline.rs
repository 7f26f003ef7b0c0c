//! What is normal, in a file that one host writes and others read.
//!
//! A file of lines: a header, one JSON object for each group, and, if it is signed, a signature (Ed25519, RFC 8032) of the SHA-256
//! of all bytes before it. Importing says of each group that it is normal, for as long as the window lasts and further events of it come.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use ed25519_dalek::{
    Signature, Signer as _, SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    groups::KeyNames,
    name::GroupName,
    store::{self, StoreError},
    tally::{Tally, Window, day_of},
};
use crate::model::{
    Kind,
    text::{hex, unhex},
};

/// Says what the file is.
const FORMAT: &str = "lkm-monitor baseline";
/// Grows when older versions cannot read it.
const VERSION: u32 = 1;
/// Longer lines are none of ours.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Why a baseline cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("line {line}: {problem}")]
    Line { line: u64, problem: String },
    #[error("it is no baseline of this version: its first line is no such header")]
    Header,
    #[error("it is cut: it has {found} of {expected} groups")]
    Cut { found: u64, expected: u64 },
    #[error("its signature is bad: it was changed after it was signed")]
    BadSignature,
    #[error("it is signed by the key {key}, which is not the one that was named")]
    OtherKey { key: String },
    #[error("it is not signed, and a key was named")]
    Unsigned,
    #[error("its groups are made of {theirs}, and those of this store of {ours}")]
    OtherKeys { theirs: String, ours: String },
    #[error("the key cannot be read: {0}")]
    Key(String),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    version: u32,
    /// When it was made.
    pub made_at: String,
    /// Where.
    pub host: String,
    /// What the groups are made of.
    pub keys: KeyNames,
    pub groups: u64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kind: KindName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<String>>,
    /// The bytes of a name that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// For people.
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    File,
    Tool,
    Module,
}

/// The last line of a signed file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// The public key, and the signature of the SHA-256 of everything before this line; in hexadecimal digits.
    key: String,
    signature: String,
}

/// How a file came to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    Unsigned,
    /// By this key, which nobody named.
    SignedBy(String),
    /// By the key that was named.
    Verified,
}

/// Writes what a store has within the window. Returns the number of groups.
pub fn export(
    store: &Path,
    window: Window,
    now_s: u64,
    host: &str,
    key: Option<&SigningKey>,
    to: impl Write,
) -> Result<u64, BaselineError> {
    let today = day_of(now_s);
    let mut groups = Vec::new();
    let keys = store::read_all(store, |_, name, tally: Tally| {
        let count = tally.count(today, window);
        if count > 0 || tally.in_baseline(today, window) {
            groups.push((name, count));
        }
    })?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        made_at: jiff::Timestamp::from_second(i64::try_from(now_s).unwrap_or(i64::MAX))
            .map_or_else(|_| String::new(), |time| time.to_string()),
        host: host.to_owned(),
        keys,
        groups: groups.len() as u64,
    };
    let mut to = Hashing { to: io::BufWriter::new(to), digest: Sha256::new() };
    to.line(&header)?;
    for (name, count) in &groups {
        let Some(kind) = name.kind() else { continue };
        let parts = name.parts();
        let is_whole = GroupName::new(kind, parts.iter().map(String::as_str)) == *name;
        let bytes = (!is_whole).then(|| hex(name.as_bytes()));
        to.line(&Line { kind: kind.into(), parts: is_whole.then_some(parts), bytes, count: *count })?;
    }
    if let Some(key) = key {
        let digest = to.digest.clone().finalize();
        let signature = hex(&key.sign(&digest).to_bytes());
        to.line(&Signed { key: hex(key.verifying_key().as_bytes()), signature })?;
    }
    to.to.flush()?;
    Ok(header.groups)
}

/// Reads a whole file and looks at its signature; `group` is given each group in turn. A file has to be read once for this alone, so that
/// nothing of a bad one is used.
pub fn read(
    from: impl BufRead,
    key: Option<&VerifyingKey>,
    mut group: impl FnMut(GroupName) -> Result<(), BaselineError>,
) -> Result<(Header, Trust), BaselineError> {
    let mut lines = Lines { from, number: 0 };
    let mut digest = Sha256::new();
    let first = lines.next()?.ok_or(BaselineError::Header)?;
    let header: Header = serde_json::from_slice(&first).map_err(|_| BaselineError::Header)?;
    if header.format != FORMAT || header.version != VERSION {
        return Err(BaselineError::Header);
    }
    digest.update(&first);
    let (mut found, mut signed) = (0, None);
    while let Some(line) = lines.next()? {
        let at = |problem: String| BaselineError::Line { line: lines.number, problem };
        if signed.is_some() {
            return Err(at("something follows the signature".to_owned()));
        }
        if let Ok(last) = serde_json::from_slice::<Signed>(&line) {
            signed = Some(last);
            continue;
        }
        digest.update(&line);
        let read: Line = serde_json::from_slice(&line).map_err(|error| at(error.to_string()))?;
        let name = name(&read).ok_or_else(|| at("it names no group".to_owned()))?;
        found += 1;
        group(name)?;
    }
    if found != header.groups {
        return Err(BaselineError::Cut { found, expected: header.groups });
    }
    let trust = trust(signed, key, &digest.finalize())?;
    Ok((header, trust))
}

fn trust(signed: Option<Signed>, named: Option<&VerifyingKey>, digest: &[u8]) -> Result<Trust, BaselineError> {
    let Some(signed) = signed else {
        return if named.is_some() { Err(BaselineError::Unsigned) } else { Ok(Trust::Unsigned) };
    };
    let key = unhex(&signed.key).and_then(|bytes| VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok());
    let signature = unhex(&signed.signature).and_then(|bytes| Some(Signature::from_bytes(&bytes.try_into().ok()?)));
    let (Some(key), Some(signature)) = (key, signature) else { return Err(BaselineError::BadSignature) };
    key.verify_strict(digest, &signature).map_err(|_| BaselineError::BadSignature)?;
    match named {
        Some(named) if *named == key => Ok(Trust::Verified),
        Some(_) => Err(BaselineError::OtherKey { key: signed.key }),
        None => Ok(Trust::SignedBy(signed.key)),
    }
}

fn name(line: &Line) -> Option<GroupName> {
    let kind = line.kind.into();
    match (&line.parts, &line.bytes) {
        (Some(parts), None) => Some(GroupName::new(kind, parts.iter().map(String::as_str))),
        (None, Some(digits)) => Some(GroupName::from_bytes(&unhex(digits)?)).filter(|name| name.kind() == Some(kind)),
        _ => None,
    }
}

/// A private key, in PKCS #8 and PEM (`openssl genpkey -algorithm ed25519`).
pub fn private_key(pem: &str) -> Result<SigningKey, BaselineError> {
    SigningKey::from_pkcs8_pem(pem).map_err(|error| BaselineError::Key(error.to_string()))
}

/// A public key, in PEM (`openssl pkey -pubout`).
pub fn public_key(pem: &str) -> Result<VerifyingKey, BaselineError> {
    VerifyingKey::from_public_key_pem(pem).map_err(|error| BaselineError::Key(error.to_string()))
}

impl From<Kind> for KindName {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Tool => Self::Tool,
            Kind::Module => Self::Module,
        }
    }
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::File => Self::File,
            KindName::Tool => Self::Tool,
            KindName::Module => Self::Module,
        }
    }
}

/// Writes lines and hashes them.
struct Hashing<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Hashing<W> {
    fn line(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.to.write_all(&line)
    }
}

/// Reads lines, with their ends.
struct Lines<R> {
    from: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, BaselineError> {
        let mut line = Vec::new();
        self.number += 1;
        let read = io::Read::take(&mut self.from, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            let problem = "it is too long, or has no end".to_owned();
            return Err(BaselineError::Line { line: self.number, problem });
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests;
