//! What packages have on record of files that are another, and of the files of modules.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::look::plain_path;
use crate::{
    inspect::regular,
    model::{Drift, Drifted, text::hex},
    provenance::Packages,
};

/// Differences of which they are asked: the rest is told without.
const MAX_ASKED: usize = 256;
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Asks for each difference that a package can explain.
pub(super) fn ask(root: &Path, release: &str, packages: &mut Packages, drifts: &mut [Drift]) {
    let mut index = None;
    for drift in drifts.iter_mut().filter(|drift| can_be_packaged(&drift.what)).take(MAX_ASKED) {
        let (path, sha256) = match &mut drift.what {
            Drifted::File { path, now: Some(now), .. } => (PathBuf::from(path.as_str()), now.sha256.clone()),
            Drifted::ModuleLoaded { name, file, .. } => {
                let index = index.get_or_insert_with(|| Index::read(root, release));
                let Some(path) = index.file_of(name) else { continue };
                *file = Some(path.to_string_lossy().into_owned());
                (path, None)
            }
            _ => continue,
        };
        let Ok(content) = regular::read(&root.join(path.strip_prefix("/").unwrap_or(&path)), MAX_FILE_BYTES + 1) else {
            continue;
        };
        // Only of what was looked at.
        let is_it = |sha256: String| sha256 == hex(&Sha256::digest(&content));
        if content.len() as u64 <= MAX_FILE_BYTES && sha256.is_none_or(is_it) {
            drift.provenance = Some(packages.owner(path.as_os_str().as_encoded_bytes(), &content));
        }
    }
}

/// Links are nobody's content, and what is no regular file has none.
fn can_be_packaged(what: &Drifted) -> bool {
    match what {
        Drifted::File { path, now: Some(now), .. } => now.sha256.is_some() && plain_path(path).is_some(),
        Drifted::ModuleLoaded { .. } => true,
        _ => false,
    }
}

/// modules.dep of the running kernel, which names the file of each module.
struct Index {
    folder: PathBuf,
    text: Vec<u8>,
}

impl Index {
    fn read(root: &Path, release: &str) -> Self {
        let folder = Path::new("/lib/modules").join(release);
        let path = root.join(folder.strip_prefix("/").unwrap_or(&folder)).join("modules.dep");
        Self { folder, text: regular::read(&path, MAX_INDEX_BYTES).unwrap_or_default() }
    }

    /// By the name that the kernel has for it.
    fn file_of(&self, name: &str) -> Option<PathBuf> {
        let files = self.text.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b':').next());
        let mut files = files.filter_map(|file| str::from_utf8(file).ok());
        let is_it = |file: &&str| {
            let stem = file.rsplit('/').next().unwrap_or_default().split(".ko").next().unwrap_or_default();
            stem.len() == name.len() && stem.replace('-', "_") == name
        };
        // It may be an absolute path, which then stands for itself.
        files.find(is_it).map(|file| self.folder.join(file))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        drift::samples,
        model::{DigestCheck, FileSeen, Manager, ModuleSeen},
    };

    #[test]
    fn files_and_modules_of_packages_are_known() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let info = "var/lib/dpkg/info";
        let md5 = "0cc175b9c0f1b6a831c399e269772661";
        write(&format!("{info}/kmod.list"), "/etc\n/etc/modprobe.d/a.conf\n/lib/modules/6.1.0/kernel/snd-x.ko.xz\n");
        write(
            &format!("{info}/kmod.md5sums"),
            &format!("{md5}  etc/modprobe.d/a.conf\n{md5}  lib/modules/6.1.0/kernel/snd-x.ko.xz\n"),
        );
        write("lib/modules/6.1.0/modules.dep", "kernel/snd-x-y.ko.xz:\nkernel/snd-x.ko.xz: kernel/b.ko\n");
        write("lib/modules/6.1.0/kernel/snd-x.ko.xz", "a");
        write("etc/modprobe.d/a.conf", "a");
        let file = |sha256: &str| Drifted::File {
            path: "/etc/modprobe.d/a.conf".to_owned(),
            before: None,
            now: Some(Box::new(FileSeen { sha256: Some(sha256.to_owned()), ..FileSeen::default() })),
        };
        let module = |name: &str| Drifted::ModuleLoaded {
            name: name.to_owned(),
            now: ModuleSeen::default(),
            before: None,
            file: None,
        };
        let of_a = hex(&Sha256::digest(b"a"));
        let mut drifts = [file(&of_a), file("another by now"), module("snd_x"), module("rootkit")].map(samples::drift);
        ask(root.path(), "6.1.0", &mut Packages::new(root.path()), &mut drifts);
        let known = |at: usize| {
            let provenance = drifts[at].provenance.as_ref()?;
            Some((provenance.manager, provenance.digest))
        };
        assert_eq!(known(0), Some((Manager::Dpkg, DigestCheck::Matches)));
        assert_eq!(known(1), None, "nobody knows what was looked at");
        assert_eq!(known(2), Some((Manager::Dpkg, DigestCheck::Matches)));
        let Drifted::ModuleLoaded { file, .. } = &drifts[2].what else { unreachable!() };
        assert_eq!(file.as_deref(), Some("/lib/modules/6.1.0/kernel/snd-x.ko.xz"));
        assert_eq!(known(3), None);
    }
}
