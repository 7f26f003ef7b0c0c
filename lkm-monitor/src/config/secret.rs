//! Passwords, tokens and private keys. They come from files only, and are never shown.

use std::{
    ffi::OsString,
    fmt,
    fs::Metadata,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::inspect::regular;

/// A private key of 16,384 bits takes 13 KiB.
const MAX_BYTES: u64 = 64 * 1024;

/// systemd.exec(5): the folder of what LoadCredential= brings. Nobody else can enter it.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The text of a file, without the end of its last line. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why there is no secret. Says nothing of what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: others than its owner and group can read or write it (mode {mode:04o}); allowed is 0640 or less")]
    Open { path: PathBuf, mode: u32 },
    #[error("{path}: it belongs to user {owner}; it must belong to root, or to who runs the daemon")]
    Owner { path: PathBuf, owner: u32 },
    #[error("{path}: it has more than {MAX_BYTES} bytes")]
    TooLong { path: PathBuf },
    #[error("{path}: it is empty")]
    Empty { path: PathBuf },
    #[error("{path}: it is no text")]
    NoText { path: PathBuf },
    #[error("`{name}` names a credential, and {CREDENTIALS} is not set; a file is named with its whole path")]
    NoCredentials { name: PathBuf },
    #[error("`{path}` is neither a whole path nor the name of a credential")]
    Relative { path: PathBuf },
}

impl Secret {
    /// The secret in a file with this absolute path, or in the systemd credential with this name.
    ///
    /// A file must not be open to others. That of a credential may be: its folder is closed.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::read_with(path, std::env::var_os(CREDENTIALS))
    }

    fn read_with(path: &Path, credentials: Option<OsString>) -> Result<Self, SecretError> {
        let credentials = credentials.filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let path = if path.is_absolute() {
            path.to_owned()
        } else if path.components().count() == 1 && path.file_name().is_some() {
            let folder = credentials.as_ref().ok_or_else(|| SecretError::NoCredentials { name: path.to_owned() })?;
            folder.join(path)
        } else {
            return Err(SecretError::Relative { path: path.to_owned() });
        };
        let failed = |source| SecretError::Read { path: path.clone(), source };
        let (file, metadata) = regular::open(&path).map_err(failed)?;
        if path.parent() != credentials.as_deref() {
            check(&path, &metadata)?;
        }
        let mut content = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > MAX_BYTES {
            return Err(SecretError::TooLong { path });
        }
        let Ok(mut text) = String::from_utf8(content) else { return Err(SecretError::NoText { path }) };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() { Err(SecretError::Empty { path }) } else { Ok(Self(text)) }
    }

    /// The secret itself, to be handed to who needs it and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(SecretError::Owner { path: path.to_owned(), owner });
    }
    // Reading by a group is how a secret is shared with another service; whoever can write it could exchange it.
    let mode = metadata.mode() & 0o7777;
    if mode & 0o026 == 0 { Ok(()) } else { Err(SecretError::Open { path: path.to_owned(), mode }) }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Writes a file that nobody else can read.
#[cfg(test)]
pub(crate) fn secret_file(path: &Path, text: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn file(folder: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.join("token");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refused(path: &Path) -> String {
        Secret::read_with(path, None).unwrap_err().to_string()
    }

    #[test]
    fn the_end_of_the_line_is_no_part_and_nothing_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        for content in ["hush", "hush\n", "hush\r\n"] {
            let secret = Secret::read_with(&file(folder.path(), content.as_bytes(), 0o600), None).unwrap();
            assert_eq!(secret.expose(), "hush");
            assert_eq!(format!("{secret:?}"), "Secret");
        }
        let secret = Secret::read_with(&file(folder.path(), b" hush \n\n", 0o640), None).unwrap();
        assert_eq!(secret.expose(), " hush \n");
    }

    #[test]
    fn what_others_can_read_or_exchange_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o602, 0o620] {
            let error = refused(&file(folder.path(), b"hush", mode));
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refused(&file(folder.path(), b"\n", 0o600)).ends_with("it is empty"));
        assert!(refused(&file(folder.path(), b"\xff", 0o600)).ends_with("it is no text"));
        let long = vec![b'x'; MAX_BYTES as usize + 1];
        assert!(refused(&file(folder.path(), &long, 0o600)).ends_with("more than 65536 bytes"));
        assert!(refused(folder.path()).contains("not a regular file"));
        assert!(refused(&folder.path().join("none")).contains("No such file"));
        assert!(refused(Path::new("a/token")).starts_with("`a/token` is neither"));
        assert!(refused(Path::new("..")).starts_with("`..` is neither"));
    }

    #[test]
    fn a_name_is_that_of_a_credential() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), b"hush\n", 0o444);
        let credentials = Some(folder.path().as_os_str().to_owned());
        for name in [Path::new("token"), &path] {
            assert_eq!(Secret::read_with(name, credentials.clone()).unwrap().expose(), "hush");
        }
        assert!(refused(Path::new("token")).starts_with("`token` names a credential"));
        assert!(refused(&path).contains("mode 0444"), "only the credentials' folder is closed");
    }
}
