//! What packages have on record of files that are another, and of the files of modules.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use sha2::{Digest as _, Sha256};

use super::{host::Host, look::plain_path};
use crate::{
    lifecycle::background,
    model::{Drift, Drifted, text::hex},
    provenance::Packages,
};

/// Differences of which they are asked, and bytes that are read for it: the rest is told without.
const MAX_ASKED: usize = 256;
const MAX_BYTES: u64 = 512 << 20;
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Differences are told without an answer after that.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thread that asks: the databases lie wherever their distribution put them, and reading them may hang. Then it hangs alone.
pub(super) struct Asker {
    questions: Sender<Vec<Drift>>,
    answers: Receiver<Vec<Drift>>,
    /// It has not answered the last question.
    is_busy: bool,
}

impl Asker {
    /// `None` where it cannot be started: then all is told without.
    pub(super) fn start(root: &Path, release: &str) -> Option<Self> {
        let (questions, asked) = bounded::<Vec<Drift>>(1);
        let (answer, answers) = bounded(1);
        let (root, release) = (root.to_owned(), release.to_owned());
        let ask_all = move || {
            background::lower_this_thread();
            let mut packages = Packages::new(&root);
            for mut drifts in asked {
                ask(&root, &release, &mut packages, &mut drifts);
                if answer.send(drifts).is_err() {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("host-packages".to_owned()).spawn(ask_all);
        if let Err(error) = started {
            tracing::warn!(%error, "what changed while nobody watched is told without what packages say of it");
            return None;
        }
        Some(Self { questions, answers, is_busy: false })
    }

    /// The differences with what packages say of them, or as they are where no answer comes in time.
    pub(super) fn ask(&mut self, drifts: Vec<Drift>) -> Vec<Drift> {
        self.ask_within(drifts, PATIENCE)
    }

    fn ask_within(&mut self, drifts: Vec<Drift>, patience: Duration) -> Vec<Drift> {
        // The answer to an earlier question is of no use any more.
        self.is_busy = self.is_busy && self.answers.try_recv().is_err();
        if self.is_busy || !drifts.iter().any(|drift| can_be_packaged(&drift.what)) {
            return drifts;
        }
        if self.questions.try_send(drifts.clone()).is_err() {
            return drifts;
        }
        self.answers.recv_timeout(patience).unwrap_or_else(|_| {
            self.is_busy = true;
            tracing::warn!("packages did not answer in time: what changed is told without what they say of it");
            drifts
        })
    }
}

/// Asks for each difference that a package can explain.
fn ask(root: &Path, release: &str, packages: &mut Packages, drifts: &mut [Drift]) {
    let host = Host::open(root);
    let end = Instant::now() + PATIENCE;
    let mut left = MAX_BYTES;
    let mut index = None;
    for drift in drifts.iter_mut().filter(|drift| can_be_packaged(&drift.what)).take(MAX_ASKED) {
        if Instant::now() >= end {
            return;
        }
        let (path, sha256) = match &mut drift.what {
            Drifted::File { path, now: Some(now), .. } => (PathBuf::from(path.as_str()), now.sha256.clone()),
            Drifted::ModuleLoaded { name, file, .. } => {
                let index = index.get_or_insert_with(|| Index::read(&host, release));
                let Some(path) = index.file_of(name) else { continue };
                *file = Some(path.to_string_lossy().into_owned());
                (path, None)
            }
            _ => continue,
        };
        let Ok(content) = host.read(&path, left.min(MAX_FILE_BYTES) + 1) else { continue };
        let bytes = content.len() as u64;
        // Only of what was looked at.
        let is_it = |sha256: String| sha256 == hex(&Sha256::digest(&content));
        if bytes <= left.min(MAX_FILE_BYTES) && sha256.is_none_or(is_it) {
            drift.provenance = Some(packages.owner(path.as_os_str().as_encoded_bytes(), &content));
        }
        left = left.saturating_sub(bytes);
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
    fn read(host: &Host, release: &str) -> Self {
        let folder = Path::new("/lib/modules").join(release);
        let text = host.read(folder.join("modules.dep"), MAX_INDEX_BYTES).unwrap_or_default();
        Self { folder, text }
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
        let drifts = [file(&of_a), file("another by now"), module("snd_x"), module("rootkit")].map(samples::drift);
        let mut asker = Asker::start(&root.path().canonicalize().unwrap(), "6.1.0").unwrap();
        let drifts = asker.ask(drifts.to_vec());
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

    #[test]
    fn who_gets_no_answer_tells_without_one_and_does_not_ask_before_it_came() {
        let (questions, asked) = bounded(1);
        let (answer, answers) = bounded(1);
        let mut asker = Asker { questions, answers, is_busy: false };
        let module =
            Drifted::ModuleLoaded { name: "a".to_owned(), now: ModuleSeen::default(), before: None, file: None };
        let drifts = vec![samples::drift(module)];
        assert_eq!(asker.ask_within(drifts.clone(), Duration::ZERO), drifts);
        assert!(asker.is_busy);
        assert_eq!(asker.ask_within(drifts.clone(), Duration::ZERO), drifts);
        assert_eq!((asked.try_iter().count(), asker.is_busy), (1, true), "one question at a time");
        answer.send(Vec::new()).unwrap();
        assert_eq!(asker.ask_within(drifts.clone(), Duration::ZERO), drifts, "that was another question");
        answer.send(Vec::new()).unwrap();
        asker.ask_within(Vec::new(), Duration::ZERO);
        assert!(!asker.is_busy);
    }
}
