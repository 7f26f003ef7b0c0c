//! What the kernel demands of modules' signatures.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{aside::Aside, kernel_config};
use crate::{
    inspect::regular,
    model::{KernelConfig, KernelPolicy},
};

/// `module.sig_enforce` (kernel/module/signing.c).
const SIG_ENFORCE: &str = "/sys/module/module/parameters/sig_enforce";
/// What is in force stands in brackets: `none [integrity] confidentiality` (security/lockdown/lockdown.c).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const MAX_BYTES: u64 = 256;
/// How the kernel was built is looked for again after that, where it was not found.
const AGE: Duration = Duration::from_secs(600);

/// What was known of it last, and who asks again. Root can mount over any of these files what never answers.
#[derive(Debug)]
pub(super) struct Policy {
    config: Aside<(), Option<KernelConfig>>,
    current: Aside<(), KernelPolicy>,
    known: KernelPolicy,
    /// When it was last looked how the kernel was built.
    looked: Instant,
}

impl Policy {
    /// Begins to read how the kernel was built, in the first of these files that says so.
    pub(super) fn start(configs: Vec<PathBuf>) -> io::Result<Self> {
        Self::start_with(move || kernel_config::read(&configs), read)
    }

    pub(super) fn start_with(
        mut config: impl FnMut() -> Option<KernelConfig> + Send + 'static,
        mut current: impl FnMut() -> KernelPolicy + Send + 'static,
    ) -> io::Result<Self> {
        let mut config = Aside::start("kernel-config", move |()| config())?;
        config.begin(());
        let mut current = Aside::start("kernel-policy", move |()| current())?;
        current.begin(());
        Ok(Self { config, current, known: KernelPolicy::default(), looked: Instant::now() })
    }

    /// As it is now: it can be made stricter while the kernel runs. Where that is not known before `until`, as it was.
    pub(super) fn latest(&mut self, until: Instant) -> KernelPolicy {
        // What came too late for an earlier question is old by now.
        self.receive(Instant::now());
        self.current.begin(());
        self.receive(until);
        // It can be on a file system that is mounted later.
        if self.known.config.is_none() && self.looked.elapsed() >= AGE && self.config.begin(()) {
            self.looked = Instant::now();
        }
        if let Ok(Some(config)) = self.config.finish(until) {
            self.known.config = Some(Arc::new(config));
        }
        self.known.clone()
    }

    fn receive(&mut self, until: Instant) {
        if let Ok(current) = self.current.finish(until) {
            self.known = KernelPolicy { config: self.known.config.take(), ..current };
        }
    }
}

fn read() -> KernelPolicy {
    let text = |path: &str| regular::read(Path::new(path), MAX_BYTES).ok();
    KernelPolicy {
        enforces_signatures: text(SIG_ENFORCE).as_deref().and_then(enforces),
        lockdown: text(LOCKDOWN).as_deref().and_then(lockdown),
        config: None,
    }
}

fn enforces(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"Y" | b"1" => Some(true),
        b"N" | b"0" => Some(false),
        _ => None,
    }
}

fn lockdown(text: &[u8]) -> Option<&'static str> {
    let text = str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once('[')?;
    let (current, _) = rest.split_once(']')?;
    ["none", "integrity", "confidentiality"].into_iter().find(|name| *name == current)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_known_holds_while_a_file_does_not_answer() {
        let ((built, builds), (tell, tells)) = (mpsc::channel(), mpsc::channel());
        let mut told = KernelPolicy::default();
        let current = move || {
            // When nothing comes any more, what came last holds.
            told = tells.recv().unwrap_or(told.clone());
            told.clone()
        };
        let config = move || builds.recv().unwrap();
        let mut policy = Policy::start_with(config, current).unwrap();
        let in_time = || Instant::now() + LONG;
        let with = |enforces_signatures, config: Option<&Arc<KernelConfig>>| KernelPolicy {
            enforces_signatures,
            lockdown: Some("none"),
            config: config.cloned(),
        };
        let be_patient = |policy: &mut Policy, with_config, with_current| {
            policy.config.patience = with_config;
            policy.current.patience = with_current;
        };
        be_patient(&mut policy, Duration::ZERO, LONG);
        tell.send(with(None, None)).unwrap();
        policy.receive(in_time());
        assert_eq!(policy.known, with(None, None), "it was asked at the start");
        tell.send(with(Some(false), None)).unwrap();
        assert_eq!(policy.latest(in_time()), with(Some(false), None), "how it was built is not known yet");

        let config = Arc::new(KernelConfig {
            path: "/boot/config".into(),
            verifies_signatures: true,
            enforces_signatures: false,
            hash: None,
        });
        be_patient(&mut policy, LONG, Duration::ZERO);
        built.send(Some((*config).clone())).unwrap();
        for _ in 0..3 {
            assert_eq!(policy.latest(in_time()), with(Some(false), Some(&config)));
        }
        be_patient(&mut policy, Duration::ZERO, LONG);
        tell.send(with(Some(true), None)).unwrap();
        drop(tell);
        assert_eq!(policy.latest(in_time()), with(Some(true), Some(&config)));
    }

    #[test]
    fn what_is_in_force_is_read() {
        assert_eq!([&b"Y\n"[..], b"N\n", b"?"].map(enforces), [Some(true), Some(false), None]);
        assert_eq!(lockdown(b"none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(lockdown(b"[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(lockdown(b"[else]"), None);
    }
}
