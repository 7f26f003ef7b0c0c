//! A header that shows who we are, made of what a file holds.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ureq::http::{HeaderName, HeaderValue, header};

use crate::config::{Secret, SecretError};

/// How the header is made of the file's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: ApiKey ...`. The file has the key as it was given out, encoded, or its `id:api_key`.
    ApiKey,
    /// `Authorization: Basic ...` (RFC 7617). The file has the password.
    Basic { user: String },
    /// `Authorization: Splunk ...`. The file has the token.
    Splunk,
    /// The file has the whole header: `Name: value`.
    Header,
}

/// Why there is no such header. Says nothing of what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{path}: its first line is empty")]
    Empty { path: PathBuf },
    #[error("{path}: its first line holds what no header can hold")]
    NoHeaderValue { path: PathBuf },
    #[error("{path}: its first line is not `Name: value`")]
    NoHeader { path: PathBuf },
}

/// The header. Its value is marked as sensitive: `Debug` prints nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    scheme: Scheme,
    path: PathBuf,
    name: HeaderName,
    value: HeaderValue,
}

impl Credentials {
    /// Reads the file.
    pub fn read(scheme: Scheme, path: &Path) -> Result<Self, CredentialsError> {
        let (name, value) = scheme.header(path)?;
        Ok(Self { scheme, path: path.to_owned(), name, value })
    }

    /// Reads the file again, and says whether it holds something else by now.
    pub(super) fn renew(&mut self) -> Result<bool, CredentialsError> {
        let before = (self.name.clone(), self.value.clone());
        (self.name, self.value) = self.scheme.header(&self.path)?;
        Ok((&self.name, &self.value) != (&before.0, &before.1))
    }

    pub(super) fn header(&self) -> (&HeaderName, &HeaderValue) {
        (&self.name, &self.value)
    }
}

impl Scheme {
    fn header(&self, path: &Path) -> Result<(HeaderName, HeaderValue), CredentialsError> {
        let secret = Secret::read(path)?;
        let line = secret.expose().as_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Blanks can be part of a password, and of nothing else.
        let line = if matches!(self, Self::Basic { .. }) { line } else { line.trim_ascii() };
        if line.is_empty() {
            return Err(CredentialsError::Empty { path: path.to_owned() });
        }
        let (name, value) = match self {
            Self::ApiKey if line.contains(&b':') => (header::AUTHORIZATION, encoded("ApiKey ", line)),
            Self::ApiKey => (header::AUTHORIZATION, [b"ApiKey ", line].concat()),
            Self::Basic { user } => (header::AUTHORIZATION, encoded("Basic ", &[user.as_bytes(), b":", line].concat())),
            Self::Splunk => (header::AUTHORIZATION, [b"Splunk ", line].concat()),
            Self::Header => {
                let colon = line.iter().position(|byte| *byte == b':');
                let name = colon.and_then(|colon| HeaderName::from_bytes(&line[..colon]).ok());
                let (Some(colon), Some(name)) = (colon, name) else {
                    return Err(CredentialsError::NoHeader { path: path.to_owned() });
                };
                (name, line[colon + 1..].trim_ascii().to_vec())
            }
        };
        let mut value =
            HeaderValue::from_bytes(&value).map_err(|_| CredentialsError::NoHeaderValue { path: path.to_owned() })?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

fn encoded(scheme: &str, secret: &[u8]) -> Vec<u8> {
    format!("{scheme}{}", BASE64_STANDARD.encode(secret)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret_file;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        secret_file(&path, text);
        (folder, path)
    }

    fn header_of(scheme: Scheme, text: &str) -> Result<(String, String), String> {
        let (_folder, path) = file(text);
        let credentials = Credentials::read(scheme, &path).map_err(|error| error.to_string())?;
        Ok((credentials.name.to_string(), credentials.value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn each_scheme_makes_its_header() {
        let value = |scheme, text| header_of(scheme, text).unwrap().1;
        assert_eq!(value(Scheme::ApiKey, "aWQ6a2V5\n"), "ApiKey aWQ6a2V5");
        assert_eq!(value(Scheme::ApiKey, "id:key\r\nmore"), "ApiKey aWQ6a2V5");
        // RFC 7617, 2.
        let basic = |text| value(Scheme::Basic { user: "Aladdin".to_owned() }, text);
        assert_eq!(basic("open sesame\r\n"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("open sesame "), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZSA=");
        assert_eq!(value(Scheme::Splunk, "0000-1111\n"), "Splunk 0000-1111");
        let header = header_of(Scheme::Header, "X-Api-Key:  a:b \n").unwrap();
        assert_eq!((header.0.as_str(), header.1.as_str()), ("x-api-key", "a:b"));
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        let error = |scheme, text| header_of(scheme, text).unwrap_err();
        assert!(error(Scheme::Splunk, "\nhush").ends_with("its first line is empty"));
        assert!(error(Scheme::Splunk, "hu\u{1}sh").ends_with("holds what no header can hold"));
        assert!(error(Scheme::Header, "hush").ends_with("is not `Name: value`"));
        assert!(error(Scheme::Header, "hu sh: x").ends_with("is not `Name: value`"));
        let (_folder, path) = file("hush\n");
        for scheme in [Scheme::ApiKey, Scheme::Splunk] {
            let credentials = Credentials::read(scheme, &path).unwrap();
            assert!(!format!("{credentials:?}").contains("hush"));
        }
        assert!(Credentials::read(Scheme::Splunk, Path::new("/none")).unwrap_err().to_string().starts_with("/none: "));
    }
}
