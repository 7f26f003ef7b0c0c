//! The keys of this host that modules may be signed with.

#[cfg(test)]
mod tests;

use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    certificate::Certificate, certificate_files, kernel_image, pkcs7::SignerId, proc_keys::KernelKeys, scan::Scan,
};
use crate::{
    inspect::regular,
    model::{KeyFacts, KeySource, ListedKey, text::hex},
};

/// Of all files together.
const MAX_CERTIFICATES: usize = 1024;
const MAX_PROBLEMS: usize = 64;

/// Where keys are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySources {
    /// Images of the running kernel, in x86's bzImage: the first that is there is read.
    pub kernel_images: Vec<PathBuf>,
    /// Files with certificates in DER or PEM, and folders of such files. One that is not there holds none.
    pub certificates: Vec<PathBuf>,
    /// `/proc/keys`.
    pub kernel_keys: PathBuf,
}

/// Something that could not be read, or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProblem {
    pub path: PathBuf,
    /// A clause.
    pub reason: String,
}

/// Certificates of this host, and what its kernel says of its own keys.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    image: Option<SearchedImage>,
    files: Vec<Known>,
    /// `None` where they cannot be read.
    kernel: Option<KernelKeys>,
    problems: Vec<KeyProblem>,
}

/// A kernel image, and all that came of searching it.
#[derive(Clone, Debug)]
struct SearchedImage {
    path: PathBuf,
    stamp: Stamp,
    certificates: Vec<Known>,
    problem: Option<String>,
}

/// Device, inode, bytes, and when it was changed last, in seconds and nanoseconds: a file that was not changed has the same.
type Stamp = (u64, u64, u64, (i64, i64));

/// A certificate, and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) certificate: Certificate,
    source: KeySource,
}

impl Keys {
    /// All that the sources hold. What could not be read is among the problems.
    ///
    /// The kernel image is what takes long, and memory: see [`super`].
    pub fn read(sources: &KeySources) -> Self {
        let mut keys = Self::default();
        keys.refresh(sources);
        keys
    }

    /// Reads again. A kernel image in which something was found, or that was not changed, is not searched again.
    pub fn refresh(&mut self, sources: &KeySources) {
        self.problems.clear();
        self.read_image(&sources.kernel_images);
        self.read_files(&sources.certificates);
        let kernel = KernelKeys::read(&sources.kernel_keys);
        let kernel = kernel.inspect_err(|error| self.problem(&sources.kernel_keys, error.to_string()));
        self.kernel = kernel.ok().filter(|keys| !keys.is_silent());
    }

    /// What could not be read, at most some dozens.
    pub fn problems(&self) -> &[KeyProblem] {
        &self.problems
    }

    /// How many certificates there are, each counted where it was found first.
    pub fn len(&self) -> usize {
        self.certificates().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All certificates, those of the kernel image first.
    pub fn facts(&self) -> impl Iterator<Item = KeyFacts> {
        self.certificates().map(|known| self.facts_of(known))
    }

    /// The certificates that a signer names. More than one has its issuer and serial number only if somebody gave them twice.
    pub(super) fn find(&self, signer: &SignerId) -> impl Iterator<Item = &Known> {
        self.certificates().filter(|known| known.certificate.is_of(signer))
    }

    /// A key that the kernel shows and that may be the signer's.
    pub(super) fn listed(&self, signer: &SignerId, name: Option<&str>) -> Option<&ListedKey> {
        let kernel = self.kernel.as_ref()?;
        match signer {
            SignerId::SubjectKeyId(id) => kernel.by_id(&hex(id)),
            SignerId::IssuerAndSerial { serial, .. } => {
                kernel.by_id(&hex(serial)).or_else(|| kernel.by_common_name(name?))
            }
        }
    }

    pub(super) fn facts_of(&self, known: &Known) -> KeyFacts {
        let kernel = self.kernel.as_ref();
        let is_revoked = |digest| kernel.is_some_and(|kernel| kernel.is_revoked(digest));
        let in_kernel = kernel.map(|kernel| kernel.by_id(&hex(known.certificate.kernel_id())).is_some());
        let revoked = known.certificate.tbs_digest().is_some_and(is_revoked);
        known.certificate.facts(known.source.clone(), revoked, in_kernel)
    }

    fn certificates(&self) -> impl Iterator<Item = &Known> {
        self.image.iter().flat_map(|image| &image.certificates).chain(&self.files)
    }

    /// The running kernel stays what it is, and so do the keys that were found in its image once, whatever has the image's name later: who is
    /// root would else make a key of his own one of the kernel's.
    fn read_image(&mut self, paths: &[PathBuf]) {
        if let Some(image) = self.image.as_ref().filter(|image| !image.certificates.is_empty()) {
            let (path, problem) = (image.path.clone(), image.problem.clone());
            return problem.into_iter().for_each(|problem| self.problem(&path, problem));
        }
        let is_there = |path: &&PathBuf| path.try_exists().unwrap_or(true);
        let Some(path) = paths.iter().find(is_there).or(paths.first()) else { return };
        let (file, metadata) = match regular::open(path) {
            Ok(opened) => opened,
            Err(error) => return self.problem(path, error.to_string()),
        };
        let stamp = stamp(&metadata);
        let before = self.image.take_if(|image| image.path == *path && image.stamp == stamp);
        let searched = before.unwrap_or_else(|| SearchedImage::search(path, stamp, file));
        if let Some(problem) = &searched.problem {
            self.problem(path, problem.clone());
        }
        self.image = Some(searched);
    }

    fn read_files(&mut self, paths: &[PathBuf]) {
        self.files.clear();
        for path in paths {
            for file in certificate_files::files(path) {
                match file {
                    Ok(file) => self.read_file(&file),
                    Err(error) => self.problem(path, error.to_string()),
                }
            }
        }
    }

    fn read_file(&mut self, path: &Path) {
        for found in certificate_files::certificates(path) {
            match found {
                Ok(certificate) if self.certificates().any(|known| known.certificate == certificate) => {}
                Ok(_) if self.files.len() == MAX_CERTIFICATES => {
                    return self.problem(path, format!("more than {MAX_CERTIFICATES} certificates are too many"));
                }
                Ok(certificate) => self.files.push(Known { certificate, source: KeySource::File(path.to_owned()) }),
                Err(error) => self.problem(path, error.to_string()),
            }
        }
    }

    fn problem(&mut self, path: &Path, reason: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(KeyProblem { path: path.to_owned(), reason });
        }
    }
}

impl SearchedImage {
    fn search(path: &Path, stamp: Stamp, file: File) -> Self {
        let (certificates, problem) = match kernel_image::certificates(file) {
            Ok(Scan { certificates, ended }) => (certificates, ended.err().map(|error| error.to_string())),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let known = |certificate| Known { certificate, source: KeySource::KernelImage(path.to_owned()) };
        let certificates = certificates.into_iter().map(known).collect();
        Self { path: path.to_owned(), stamp, certificates, problem }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), (metadata.mtime(), metadata.mtime_nsec()))
}
