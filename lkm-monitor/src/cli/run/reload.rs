//! Settings that are read anew on SIGHUP, while the daemon goes on.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{
    baseline,
    carriers::{Carriers, Ways},
};
use crate::{
    config::{self, InForce, Loaded, Problems},
    inspect::{
        self,
        contents::{Baseline, Known},
    },
    model::{Reload, ReloadOutcome},
    pipeline::{Pipeline, Selection, boot_ns},
    sensor::{attach::Programs, rings::Rings},
};

/// So long what happened before is waited for, which the old settings judge.
const LAST_OF_OLD: Duration = Duration::from_secs(1);

/// Settings that can be used, and what comes of them.
pub(super) struct Next {
    loaded: Loaded,
    selection: Selection,
    baseline: Baseline,
    ways: Ways,
}

/// What there is to do.
pub(super) enum Step {
    /// Settings were asked for, and are being read.
    Asked,
    /// They are read, or cannot be used.
    Read(anyhow::Result<Box<Next>>),
}

/// Begins to listen for the signal, which would end the daemon otherwise: one that comes before anybody waits for it is not forgotten.
pub(super) fn hangups(runtime: &Runtime) -> std::io::Result<Signal> {
    let _entered = runtime.enter();
    signal(SignalKind::hangup())
}

/// Waits for the signal, and reads in a thread of its own: a disk can make who reads it wait.
pub(super) struct Reloads {
    hangups: Signal,
    named: Option<PathBuf>,
    known: Known,
    in_force: InForce,
    kernel_release: String,
    reading: Option<oneshot::Receiver<anyhow::Result<Box<Next>>>>,
}

impl Reloads {
    /// `in_force` is what the daemon was started with.
    pub(super) fn new(
        hangups: Signal,
        named: Option<&Path>,
        in_force: InForce,
        known: Known,
        kernel_release: String,
    ) -> Self {
        Self { hangups, named: named.map(Path::to_owned), known, in_force, kernel_release, reading: None }
    }

    /// Waits until settings are asked for, and then until they are read. Cancel-safe. A signal that comes meanwhile lets them be read again.
    pub(super) async fn next(&mut self) -> Step {
        match &mut self.reading {
            Some(reading) => {
                let next = reading.await;
                self.reading = None;
                Step::Read(next.unwrap_or_else(|_| Err(anyhow::anyhow!("who reads the settings has died"))))
            }
            None => {
                self.hangups.recv().await;
                match self.read() {
                    Ok(reading) => {
                        self.reading = Some(reading);
                        Step::Asked
                    }
                    Err(error) => Step::Read(Err(error)),
                }
            }
        }
    }

    fn read(&self) -> anyhow::Result<oneshot::Receiver<anyhow::Result<Box<Next>>>> {
        let (sender, receiver) = oneshot::channel();
        let (named, known, release) = (self.named.clone(), self.known.clone(), self.kernel_release.clone());
        thread::Builder::new().name("configuration".to_owned()).spawn(move || {
            // Nobody waits for it any more when this fails: the daemon ends.
            let _ = sender.send(read(named.as_deref(), &known, &release));
        })?;
        Ok(receiver)
    }

    /// Of what holds now.
    pub(super) fn configuration_sha256(&self) -> String {
        self.in_force.sha256()
    }

    /// Lets the settings hold, or says why the old ones go on.
    pub(super) fn apply(
        &mut self,
        next: anyhow::Result<Box<Next>>,
        programs: &mut Programs,
        rings: &mut Rings,
        pipeline: &mut Pipeline,
        carriers: Option<&mut Carriers>,
    ) {
        let sha256_before = self.configuration_sha256();
        let outcome = match next.and_then(|next| self.follow(*next, programs, rings, pipeline, carriers)) {
            Ok(outcome) => outcome,
            Err(error) => rejected(&error),
        };
        pipeline.tell_reload(&Reload { boot_ns: boot_ns(), sha256_before, outcome });
    }

    /// Nothing is unwatched meanwhile that was watched before and will be: first the probes report what is new, then what happened until
    /// then is judged by the old settings, then the new ones hold.
    fn follow(
        &mut self,
        next: Next,
        programs: &mut Programs,
        rings: &mut Rings,
        pipeline: &mut Pipeline,
        carriers: Option<&mut Carriers>,
    ) -> anyhow::Result<ReloadOutcome> {
        let Next { loaded, selection, baseline, ways } = next;
        if let Err(error) = programs.know_names(selection.watch.filter()) {
            // A part of them may be known already, in the place of old ones.
            if let Err(again) = programs.know_names(pipeline.watched_names()) {
                tracing::error!(error = %again, "not all that was watched before the reload is watched on");
            }
            return Err(error.into());
        }
        let deadline = Instant::now() + LAST_OF_OLD;
        while pipeline.read(rings) && Instant::now() < deadline {}
        self.known.follow(baseline.subject);
        pipeline.follow(selection);
        if let Some(carriers) = carriers {
            carriers.follow(ways);
            pipeline.want_events(carriers.want_events());
        }
        let changes = self.in_force.follow(&loaded.effective);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        for change in changes.iter().filter(|change| !change.in_place) {
            tracing::warn!(key = change.key, "this setting holds when the daemon is started again");
        }
        tracing::info!(changed = changes.len(), "the configuration was reloaded");
        Ok(ReloadOutcome::Reloaded { sha256: self.configuration_sha256(), changes })
    }
}

fn rejected(error: &anyhow::Error) -> ReloadOutcome {
    let problems: Vec<String> = match error.downcast_ref::<Problems>() {
        Some(problems) => problems.lines(),
        None => vec![format!("{error:#}")],
    };
    for problem in &problems {
        tracing::error!("{problem}");
    }
    tracing::error!(problems = problems.len(), "the configuration is rejected: the old one goes on");
    ReloadOutcome::Rejected { problems }
}

/// Reads the settings, and does what files can keep waiting.
fn read(named: Option<&Path>, known: &Known, kernel_release: &str) -> anyhow::Result<Box<Next>> {
    let loaded = config::load(named)?;
    let files = &loaded.config.files;
    // Checked when the settings were read.
    let (watch, exclusions, thresholds) =
        (files.watch_list()?, files.exclusions()?, loaded.config.rarity.thresholds()?);
    let baseline = baseline(&watch);
    known.learn(&baseline);
    let mounts = inspect::system_mounts(kernel_release, &watch.places());
    let ways = Ways::of(&loaded.config)?;
    Ok(Box::new(Next { loaded, selection: Selection { watch, exclusions, thresholds, mounts }, baseline, ways }))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    /// Probes are attached for seconds before the main loop runs.
    #[test]
    fn a_hangup_that_comes_early_ends_nobody_and_is_answered_later() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut hangups = hangups(&runtime).unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        let answered = async { timeout(Duration::from_secs(60), hangups.recv()).await };
        assert_eq!(runtime.block_on(answered), Ok(Some(())));
    }
}
