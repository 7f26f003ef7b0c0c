//! Versions and architectures of packages: `/var/lib/dpkg/status`, of paragraphs as in deb-control(5).

use std::collections::BTreeMap;

/// A longer value is no name, version or architecture.
const MAX_VALUE_BYTES: usize = 256;
/// A Debian release has 70,000 packages.
const MAX_PACKAGES: usize = 100_000;

/// What the status file says of all packages.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Versions, by name and architecture with a NUL between them.
    versions: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// The version and the architecture of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Installed<'a> {
    pub(super) version: &'a [u8],
    pub(super) architecture: &'a [u8],
}

impl Status {
    pub(super) fn parse(content: &[u8]) -> Self {
        let mut versions = BTreeMap::new();
        let mut paragraph = Paragraph::default();
        for line in content.split(|byte| *byte == b'\n').chain([b"".as_slice()]) {
            if !line.is_empty() {
                paragraph.take(line);
            } else if let Paragraph { package: Some(name), architecture: Some(architecture), version: Some(version) } =
                std::mem::take(&mut paragraph)
                && versions.len() < MAX_PACKAGES
            {
                versions.insert([name, architecture].join(&0).into(), version.into());
            }
        }
        Self { versions }
    }

    /// The package whose files in the database have names that begin with `stem`: its name, and where packages of several
    /// architectures can be installed beside each other, `:` and the architecture.
    pub(super) fn installed(&self, stem: &[u8]) -> Option<Installed<'_>> {
        let (name, wanted) = split(stem);
        let first = [name, wanted.unwrap_or_default()].join(&0);
        let (key, version) = self.versions.range(Box::from(first)..).next()?;
        let architecture = key.strip_prefix(name)?.strip_prefix(b"\0")?;
        wanted.is_none_or(|wanted| wanted == architecture).then_some(Installed { version, architecture })
    }
}

/// The name and the architecture in the name of a file of the database, without its ending.
pub(super) fn split(stem: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = stem.splitn(2, |byte| *byte == b':');
    (parts.next().unwrap_or_default(), parts.next())
}

/// The fields that matter. What is continued on another line is none of them.
#[derive(Default)]
struct Paragraph<'a> {
    package: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    architecture: Option<&'a [u8]>,
}

impl<'a> Paragraph<'a> {
    fn take(&mut self, line: &'a [u8]) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(field), Some(value)) = (parts.next(), parts.next()) else { return };
        let place = match field {
            field if field.eq_ignore_ascii_case(b"package") => &mut self.package,
            field if field.eq_ignore_ascii_case(b"version") => &mut self.version,
            field if field.eq_ignore_ascii_case(b"architecture") => &mut self.architecture,
            _ => return,
        };
        *place = Some(value.trim_ascii()).filter(|value| !value.is_empty() && value.len() <= MAX_VALUE_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36-9
Description: GNU C Library
 Version: 1 of nothing

Package: libc6
Architecture: amd64
Version: 2.36-10

package:  dkms\t
architecture: all
version: 3.0.10-8

Package: libc6-dev
Version: 9

Package: last
Version: 1:2-3
Architecture: amd64";

    fn installed<'a>(status: &'a Status, stem: &str) -> Option<(&'a str, &'a str)> {
        let Installed { version, architecture } = status.installed(stem.as_bytes())?;
        Some((str::from_utf8(version).unwrap(), str::from_utf8(architecture).unwrap()))
    }

    #[test]
    fn a_package_has_a_version_for_each_architecture() {
        let status = Status::parse(STATUS.as_bytes());
        assert_eq!(installed(&status, "libc6:i386"), Some(("2.36-9", "i386")));
        assert_eq!(installed(&status, "libc6:amd64"), Some(("2.36-10", "amd64")));
        assert_eq!(installed(&status, "dkms"), Some(("3.0.10-8", "all")));
        assert_eq!(installed(&status, "last"), Some(("1:2-3", "amd64")));
        for unknown in ["libc6:arm64", "libc6:", "libc6-dev", "libc", "zzz", ""] {
            assert_eq!(installed(&status, unknown), None, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(content: Vec<u8>, stem: Vec<u8>) {
            let _ = Status::parse(&content).installed(&stem);
        }

        #[test]
        fn what_is_cut_off_tells_nothing_else(at in 0..STATUS.len()) {
            let status = Status::parse(&STATUS.as_bytes()[..at]);
            if let Some((version, _)) = installed(&status, "libc6:amd64") {
                prop_assert!("2.36-10".starts_with(version));
            }
        }
    }
}
