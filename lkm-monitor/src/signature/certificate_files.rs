//! Certificates in files: in DER, in PEM, or among other bytes, as in the lists of keys that firmware hands on
//! (`/sys/firmware/efi/mok-variables/MokListRT`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use memchr::memmem;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    certificate::{Certificate, CertificateError},
    scan::{self, Scan, ScanError},
};
use crate::inspect::regular;

const PEM_START: &[u8] = b"-----BEGIN ";

const MAX_FILE_BYTES: u64 = 1 << 20;
/// Of a folder.
const MAX_ENTRIES: usize = 256;
/// Of a file.
const MAX_CERTIFICATES: usize = 256;

/// Why a file or a folder gave less than it may hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateFileError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error("it has more than {MAX_ENTRIES} entries, of which some are not read")]
    Entries,
    #[error("it has more than {MAX_CERTIFICATES} certificates, of which the first are read")]
    Certificates,
    #[error("it is PEM of other things than certificates")]
    Empty,
    #[error("its PEM is damaged: {0}")]
    Pem(rustls_pki_types::pem::Error),
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("{0}")]
    Scan(#[from] ScanError),
}

/// The files at a path: those in a folder, in order of their names, or the file itself; none where nothing is. What is in folders of the
/// folder is not looked at.
pub(super) fn files(path: &Path) -> Vec<Result<PathBuf, CertificateFileError>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![Err(error.into())],
        Ok(metadata) if metadata.is_dir() => in_folder(path).unwrap_or_else(|error| vec![Err(error.into())]),
        Ok(_) => vec![Ok(path.to_owned())],
    }
}

fn in_folder(path: &Path) -> io::Result<Vec<Result<PathBuf, CertificateFileError>>> {
    let entries = fs::read_dir(path)?.take(MAX_ENTRIES + 1).collect::<io::Result<Vec<_>>>()?;
    let is_more = entries.len() > MAX_ENTRIES;
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut paths: Vec<_> =
        entries.iter().take(MAX_ENTRIES).filter(|entry| !is_folder(entry)).map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths.into_iter().map(Ok).chain(is_more.then_some(Err(CertificateFileError::Entries))).collect())
}

/// The certificates of a file, and what of it is none.
pub(super) fn certificates(path: &Path) -> Vec<Result<Certificate, CertificateFileError>> {
    let content = match regular::read(path, MAX_FILE_BYTES + 1) {
        Ok(content) if content.len() as u64 > MAX_FILE_BYTES => return vec![Err(CertificateFileError::TooLong)],
        Ok(content) => content,
        Err(error) => return vec![Err(error.into())],
    };
    if memmem::find(&content, PEM_START).is_some() { in_pem(&content) } else { in_bytes(&content) }
}

fn in_pem(content: &[u8]) -> Vec<Result<Certificate, CertificateFileError>> {
    let mut found = Vec::new();
    for section in CertificateDer::pem_slice_iter(content) {
        let section = section.map_err(CertificateFileError::Pem);
        let is_last = section.is_err() || found.len() == MAX_CERTIFICATES;
        found.push(match section {
            Ok(_) if is_last => Err(CertificateFileError::Certificates),
            section => section.and_then(|section| Ok(Certificate::from_der(&section)?)),
        });
        if is_last {
            break;
        }
    }
    if found.is_empty() { vec![Err(CertificateFileError::Empty)] } else { found }
}

fn in_bytes(content: &[u8]) -> Vec<Result<Certificate, CertificateFileError>> {
    let error = match Certificate::from_der(content) {
        Ok(certificate) => return vec![Ok(certificate)],
        Err(error) => error,
    };
    let Scan { certificates, ended } = scan::certificates(content, MAX_FILE_BYTES);
    if certificates.is_empty() {
        return vec![Err(CertificateFileError::Certificate(error))];
    }
    certificates.into_iter().map(Ok).chain(ended.err().map(|error| Err(error.into()))).collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use proptest::prelude::*;

    use super::*;
    use crate::signature::fixtures::{P256, P384, RSA};

    fn pem(label: &str, bytes: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
    }

    fn read(content: &[u8]) -> Vec<Result<Certificate, String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        certificates(file.path()).into_iter().map(|found| found.map_err(|error| error.to_string())).collect()
    }

    fn certificate(bytes: &[u8]) -> Result<Certificate, String> {
        Ok(Certificate::from_der(bytes).unwrap())
    }

    #[test]
    fn der_pem_and_lists_of_firmware_are_read() {
        let (rsa, p256) = (&RSA.certificate, &P256.certificate);
        assert_eq!(read(rsa), [certificate(rsa)]);
        let chain = [pem("CERTIFICATE", rsa), pem("PRIVATE KEY", b"key"), pem("CERTIFICATE", p256)].concat();
        assert_eq!(read(chain.as_bytes()), [certificate(rsa), certificate(p256)]);
        let list = [b"list of some bytes", &rsa[..], b"head", p256].concat();
        assert_eq!(read(&list), [certificate(rsa), certificate(p256)]);
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let only = |content: &[u8]| read(content).pop().unwrap().unwrap_err();
        assert_eq!(only(pem("PRIVATE KEY", b"key").as_bytes()), "it is PEM of other things than certificates");
        assert!(only(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").starts_with("its PEM is damaged"));
        assert!(only(pem("CERTIFICATE", b"none").as_bytes()).starts_with("no certificate in DER"));
        assert!(only(b"anything").starts_with("no certificate in DER"));
        assert_eq!(only(&vec![0; MAX_FILE_BYTES as usize + 1]), "it has more than 1048576 bytes");
        let many = pem("CERTIFICATE", &P256.certificate).repeat(MAX_CERTIFICATES + 5);
        let mut found = read(many.as_bytes());
        assert!(found.pop().unwrap().unwrap_err().starts_with("it has more than 256 certificates"));
        assert_eq!(found.len(), MAX_CERTIFICATES);
    }

    #[test]
    fn a_folder_is_its_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a folder")).unwrap();
        for name in ["b", "a"] {
            fs::write(folder.path().join(name), &P384.certificate).unwrap();
        }
        let paths = |path: &Path| files(path).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(paths(folder.path()), ["a", "b"].map(|name| folder.path().join(name)));
        assert_eq!(paths(&folder.path().join("a")), [folder.path().join("a")]);
        assert_eq!(paths(&folder.path().join("none")), [] as [PathBuf; 0]);
        for number in 0..MAX_ENTRIES {
            fs::write(folder.path().join(number.to_string()), b"").unwrap();
        }
        let mut all = files(folder.path());
        assert!(matches!(all.pop(), Some(Err(CertificateFileError::Entries))));
        assert!(all.len() <= MAX_ENTRIES);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = certificates(&path).pop().unwrap().unwrap_err().to_string();
        assert_eq!(error, "not a regular file");
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>, text in "\\PC{0,80}") {
            in_bytes(&bytes);
            in_pem(&bytes);
            in_pem(format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").as_bytes());
        }
    }
}
