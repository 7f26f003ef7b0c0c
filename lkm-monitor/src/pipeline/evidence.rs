//! Which images are kept, and handing them to who keeps them.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    alert,
    evidence::{Count, Service, ServiceError, Totals},
    model::{
        Accounts, Clock, EvidenceCause, Host, KeptImage, KeptLoad, Metric, ModuleCall, Origin, Verdict, text::text,
    },
};

/// Writing an image takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who keeps images, and what of.
#[derive(Debug)]
pub struct Evidence {
    /// None where it cannot be started, and at the end: every image that is to be kept is a loss.
    service: Option<Service>,
    /// What the service counts.
    totals: Option<Arc<Totals>>,
    keep: BTreeSet<EvidenceCause>,
    /// Images that were not handed to the service, or that it gave up.
    lost: u64,
    /// Those of which the service counted at the last look that they are not kept.
    failed: u64,
    /// Those that waited for a disk that hangs, and still wait.
    overdue: u64,
    /// Those that did so, were told as lost, and are kept.
    kept_after_all: u64,
}

impl Evidence {
    pub fn new(service: Option<Service>, keep: BTreeSet<EvidenceCause>) -> Self {
        let totals = service.as_ref().map(Service::totals);
        Self { service, totals, keep, lost: 0, failed: 0, overdue: 0, kept_after_all: 0 }
    }

    /// Whether the image of a call with this verdict is to be kept.
    pub(super) fn wants(&self, call: &ModuleCall, verdict: &Verdict) -> bool {
        // A module that is there already came in by another load. An init function that returns the same did run.
        let is_there = call.errno() == Some(libc::EEXIST) && call.stage.init_ran() == Some(false);
        !verdict.findings.is_empty() && !is_there && self.keep.iter().any(|cause| applies(*cause, call))
    }

    /// Hands over what there is of an image. Whether it got there.
    pub(super) fn keep(&mut self, bytes: Option<Arc<Vec<u8>>>, image_bytes: u64, load: KeptLoad) -> bool {
        let Some((bytes, service)) = bytes.zip(self.service.as_ref()) else {
            self.lost += 1;
            return false;
        };
        // What the service does not take it counts.
        service.keep(KeptImage { content: bytes, size: image_bytes }, load).is_ok()
    }

    /// Images that were to be kept and are not, as was known at the last look. What was told once stays told.
    pub(super) const fn lost(&self) -> u64 {
        self.lost + self.failed + self.overdue + self.kept_after_all
    }

    /// Looks whether images are written: a file system can make that wait for ever, and without an error.
    pub(super) fn look_after(&mut self) {
        self.look_after_with(PATIENCE);
    }

    fn look_after_with(&mut self, patience: Duration) {
        let Some(service) = &self.service else { return };
        let waiting = service.waiting_images();
        let overdue = if service.hangs(patience) { waiting } else { waiting.min(self.overdue) };
        if overdue > self.overdue {
            tracing::error!(images = overdue, "images of modules wait for a disk that hangs, and count as lost");
        }
        self.settle(overdue, 0);
    }

    /// So many are overdue now, and so many were given up: what became of the others that were overdue.
    fn settle(&mut self, overdue: u64, given_up: u64) {
        let counts = [Count::Failed, Count::Refused, Count::QueueFull];
        let failed = self.totals.iter().flat_map(|totals| counts.map(|count| totals.get(count))).sum();
        // Those that are lost count as that from now on, and not as overdue.
        let not_kept = failed - self.failed + given_up;
        self.kept_after_all += self.overdue.saturating_sub(overdue).saturating_sub(not_kept);
        self.lost += given_up;
        (self.failed, self.overdue) = (failed, overdue);
    }

    /// What became of images since the start, and what there is.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let Some(totals) = &self.totals else { return Vec::new() };
        let fate = |count: Count| Metric {
            name: "evidence",
            labels: vec![("stage", "evidence".to_owned()), ("reason", count.name().to_owned())],
            value: totals.get(count),
        };
        let plain = |name, value| Metric { name, labels: Vec::new(), value };
        let held = [plain("evidence_bytes", totals.bytes()), plain("evidence_images", totals.images())];
        Count::ALL.map(fate).into_iter().chain(held).collect()
    }

    /// Waits until everything that was handed over is kept, at the longest until `deadline`.
    pub(super) fn finish(&mut self, deadline: Instant) {
        let Some(service) = self.service.take() else { return };
        let given_up = service.finish(deadline).err().map_or(0, |error| {
            tracing::error!(%error, "evidence is lost");
            let ServiceError::Stuck { waiting_images, .. } = error;
            waiting_images
        });
        self.settle(0, given_up);
    }
}

fn applies(cause: EvidenceCause, call: &ModuleCall) -> bool {
    let image = call.image.as_deref();
    match cause {
        EvidenceCause::Alert => true,
        // The kernel's own modules are where they are installed, too.
        EvidenceCause::Memory => {
            matches!(call.origin(), Origin::Memory | Origin::Memfd | Origin::Anonymous | Origin::Deleted)
                && image.is_none_or(|image| !image.is_of_kernels_build(call.module.taints))
        }
        EvidenceCause::Unsigned => image.is_none_or(|image| !image.is_signed(call.module.taints)),
        EvidenceCause::Unpackaged => image.is_none_or(|image| !image.is_packaged()),
    }
}

/// What is put on record of a load.
pub(super) fn record(
    call: &ModuleCall,
    verdict: &Verdict,
    (host, clock): (&Host, Clock),
    accounts: &Accounts,
) -> KeptLoad {
    let caller = call.process.as_ref().map(|tree| &tree.caller);
    let uid = caller.and_then(|caller| caller.ids).map(|ids| ids.uid);
    KeptLoad {
        at: jiff::Timestamp::from_nanosecond(clock.realtime_ns(call.boot_ns)).unwrap_or_default(),
        event_id: alert::call_id(call, &host.boot_id),
        boot_id: host.boot_id.clone(),
        module_name: call.best_name().map(|(name, _)| name).unwrap_or_default(),
        path: call.file.as_ref().map(|file| file.path.seen.clone()),
        pid: caller.map_or(0, |caller| caller.pid),
        uid,
        user: uid.and_then(|uid| accounts.users.get(&uid)).map(|name| text(name)),
        ran: call.stage.init_ran() != Some(false),
        rules: verdict.findings.iter().map(|finding| finding.rule.id.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests;
